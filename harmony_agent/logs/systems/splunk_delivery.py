"""Delivery to Splunk's HTTP Event Collector, with indexer acknowledgment where the token asks."""

import asyncio
import gzip
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx

from harmony_agent.core.errors import OutcomeUnknown, Refused, Unavailable
from harmony_agent.logs.event import Event
from harmony_agent.logs.systems import splunk_hec as hec
from harmony_agent.logs.systems.delivery import Outcome, Verdict, deliver
from harmony_agent.logs.systems.http import HttpService, client_context, retry_after
from harmony_agent.logs.systems.interface import Limits, Receipt
from harmony_agent.logs.systems.metrics import note
from harmony_agent.logs.systems.splunk_acks import Acknowledgments
from harmony_agent.settings.model import SplunkLogSystem

__all__ = ["LIMITS", "HecDelivery"]

# Splunk Cloud advises 1 MB; the input queue behind HEC holds 500 KB by default.
LIMITS: Final = Limits(entries=1000, size=1_000_000)

_EVENT: Final = "/services/collector/event"
_HEALTH: Final = "/services/collector/health/1.0"

# A rolling restart can answer 404 for a while; after that the URL is wrong.
_PATIENCE: Final = 300.0

_REQUESTS: Final = 4
# Acknowledgments come seconds after the events: at 5 s and 1,000 events in each batch these are
# some 1,100 events a second. Each batch that waits for its own holds 3 to 4 MiB of memory.
_WAITING: Final = 6


class HecDelivery:
    """Sends events to one token of one HTTP Event Collector.

    With indexer acknowledgment (`useACK`) each request is waited for until its events are
    indexed: five minutes at most, then it counts as lost and is sent again. All requests share a
    channel, and are asked for together.

    Raises Refused at once if a certificate file can't be used.
    """

    def __init__(self, settings: SplunkLogSystem, *, host: str, ca_bundle: Path | None) -> None:
        context = client_context(
            ca_bundle, settings.ca_bundle, client_certificate=settings.client_certificate
        )
        self._service = HttpService(
            "Splunk HEC",
            hec.base_url(settings.url),
            context=context,
            headers={"Authorization": f"Splunk {settings.token.get_secret_value()}"},
        )
        self._envelope = hec.Envelope(host, settings.source, settings.sourcetype, settings.index)
        self._acks: Acknowledgments | None = None  # once the token has asked for a channel
        self._missing_since: float | None = None

    @property
    def concurrency(self) -> int:
        """How many calls of `send` at once are of use: more of them while each has to wait for
        its acknowledgment."""
        return _REQUESTS if self._acks is None else _WAITING

    async def send(self, events: Sequence[Event]) -> Receipt:
        """As LogSystem.send."""
        return await deliver([self._envelope.wrap(event) for event in events], LIMITS, self._post)

    async def probe(self) -> str:
        """Ask for HEC's health and test the token, without storing anything."""
        health = await self._service.request("GET", _HEALTH)
        answer = hec.read_answer(health.content)
        verdict = hec.classify(health.status_code, answer, 0, retry_after(health.headers))
        if verdict.outcome is Outcome.BUSY:
            raise Unavailable(verdict.reason, retry_after=verdict.wait)
        # An empty request: a valid token is told "No data", any other one what is wrong with it.
        empty = await self._request(b"")
        answer = hec.read_answer(empty.content)
        if answer.code in (5, 10):
            return "Splunk's HTTP Event Collector is healthy and takes the token"
        verdict = hec.classify(empty.status_code, answer, 0, patient=False)
        if verdict.outcome is Outcome.BUSY:
            raise Unavailable(verdict.reason, retry_after=retry_after(empty.headers))
        raise Refused(verdict.reason or "Splunk answered an empty request as if it were events")

    async def close(self) -> None:
        """Close all connections."""
        await self._service.close()

    async def _post(self, entries: Sequence[bytes]) -> Verdict:
        body = gzip.compress(b"\n".join(entries), compresslevel=1, mtime=0)
        acks = self._acks
        response = await self._request(body, acks)
        answer = hec.read_answer(response.content)
        if answer.code == 10 and acks is None:
            # The token has indexer acknowledgment switched on: every request needs a channel.
            acks = self._acks = self._acks or Acknowledgments(self._service, str(uuid.uuid4()))
            response = await self._request(body, acks)
            answer = hec.read_answer(response.content)
        verdict = hec.classify(
            response.status_code,
            answer,
            len(entries),
            retry_after(response.headers),
            patient=self._is_patient(response.status_code),
        )
        note("splunk", verdict.outcome)
        if answer.code == 11:
            self._forget(acks)
        elif verdict.outcome is Outcome.ACCEPTED and answer.ack_id is not None and acks is not None:
            await self._wait_for_ack(acks, answer.ack_id)
        return verdict

    async def _wait_for_ack(self, acks: Acknowledgments, ack_id: int) -> None:
        try:
            await acks.wait(ack_id)
        except OutcomeUnknown:
            self._forget(acks)
            raise

    def _forget(self, acks: Acknowledgments | None) -> None:
        """The channel is lost; the next request learns anew whether it needs one."""
        if self._acks is acks:
            self._acks = None

    async def _request(self, body: bytes, acks: Acknowledgments | None = None) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        if body:
            headers["Content-Encoding"] = "gzip"
        if acks is not None:
            headers["X-Splunk-Request-Channel"] = acks.channel
        return await self._service.request("POST", _EVENT, content=body, headers=headers)

    def _is_patient(self, status: int) -> bool:
        now = asyncio.get_running_loop().time()
        if status != 404:
            self._missing_since = None
            return True
        if self._missing_since is None:
            self._missing_since = now
        return now - self._missing_since < _PATIENCE
