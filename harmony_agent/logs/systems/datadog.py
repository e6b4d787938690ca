"""Datadog as a log system: logs intake v2 to deliver, logs search v2 to fetch back."""

import gzip
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final

from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.logs.event import Event
from harmony_agent.logs.query import Page, Query
from harmony_agent.logs.systems.datadog_intake import Entries, classify
from harmony_agent.logs.systems.datadog_search import DatadogSearch, api_url
from harmony_agent.logs.systems.delivery import Outcome, Verdict, deliver
from harmony_agent.logs.systems.http import HttpService, client_context, retry_after
from harmony_agent.logs.systems.interface import Limits, LogSystem, Receipt
from harmony_agent.logs.systems.metrics import note
from harmony_agent.settings.model import DatadogLogSystem

__all__ = ["Datadog"]

_MOST_ENTRIES: Final = 1000
_MOST_BYTES: Final = 5_000_000


class Datadog(LogSystem):
    """One Datadog organization, by its API key and, for retrieval, an application key.

    `host` is the `hostname` of all events; with `system` only events of that Harmony system are
    fetched back. Raises Refused if a certificate file can't be used.
    """

    kind: ClassVar[str] = "datadog"
    concurrency: ClassVar[int] = 4

    def __init__(
        self,
        settings: DatadogLogSystem,
        *,
        host: str,
        state_dir: Path,
        ca_bundle: Path | None,
        system: str | None,
    ) -> None:
        self._settings = settings
        self._bundles = (ca_bundle, settings.ca_bundle)
        self._state_dir = state_dir
        self._system = system
        self.limits = Limits(min(settings.batch_count, _MOST_ENTRIES), _MOST_BYTES - 2)
        self._entries = Entries(host, settings.tags)
        key = {"DD-API-KEY": settings.api_key.get_secret_value()}
        context = client_context(*self._bundles)
        intake = settings.endpoint or f"https://http-intake.logs.{settings.site}"
        self._intake = HttpService("Datadog intake", intake, context=context, headers=key)
        self._api = HttpService("Datadog API", api_url(settings), context=context, headers=key)

    async def send(self, events: Sequence[Event]) -> Receipt:
        """As LogSystem.send; an event whose attributes exceed 1 MB arrives shortened and is a
        dead letter. Events outside of Datadog's age window get the time of sending as their
        `timestamp`."""
        now = datetime.now(UTC)
        pieces = [piece for event in events for piece in self._entries.make(event, now)]
        return await deliver(pieces, self.limits, self._post)

    async def search(self, query: Query) -> Page:
        """As LogSystem.search. What was sent in the last minute may not be searchable yet."""
        return await self._search.search(query)

    async def probe(self) -> str:
        """As LogSystem.probe; retrieval is tested if it is configured."""
        answer = await self._api.request("GET", "/api/v1/validate")
        if answer.status_code != 200:
            verdict = classify(answer.status_code, answer.content, retry_after(answer.headers))
            if verdict.outcome is Outcome.BUSY:
                raise Unavailable(verdict.reason, retry_after=verdict.wait)
            raise Refused(verdict.reason)
        if self._settings.app_key is None:
            return "Datadog takes the API key; retrieval is not configured (appKey)"
        await self._search.probe()
        return "Datadog takes the API key; the application key may read logs"

    async def close(self) -> None:
        """As LogSystem.close."""
        if "_search" in self.__dict__:
            await self._search.close()
        await self._intake.close()
        await self._api.close()

    async def _post(self, entries: Sequence[bytes]) -> Verdict:
        body = b"[" + b",".join(entries) + b"]"
        response = await self._intake.request(
            "POST",
            "/api/v2/logs",
            content=gzip.compress(body, compresslevel=1, mtime=0),
            headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
        )
        verdict = classify(response.status_code, response.content, retry_after(response.headers))
        note("datadog", verdict.outcome)
        return verdict

    @cached_property
    def _search(self) -> DatadogSearch:
        # Made on the first question: delivery works without it.
        return DatadogSearch(
            self._settings, *self._bundles, state_dir=self._state_dir, system=self._system
        )
