"""Indexer acknowledgment: all requests that wait for it are asked for together."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

import orjson

from harmony_agent.core.errors import AgentError, OutcomeUnknown
from harmony_agent.logs.systems import splunk_hec as hec
from harmony_agent.logs.systems.delivery import Outcome
from harmony_agent.logs.systems.http import HttpService
from harmony_agent.logs.systems.metrics import note

__all__ = ["Acknowledgments"]

log = logging.getLogger(__name__)

_ACK: Final = "/services/collector/ack"
_ACK_LIMIT: Final = 300.0
_ACK_FIRST: Final = 0.5
_ACK_CEILING: Final = 2.0  # one request for all that wait


class Acknowledgments:
    """The requests of one channel that are not indexed yet.

    However many wait, one poller asks; it runs while any wait.
    """

    def __init__(self, service: HttpService, channel: str) -> None:
        self._service = service
        self.channel = channel
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._poller: asyncio.Task[None] | None = None

    async def wait(self, ack_id: int) -> None:
        """Return once Splunk has indexed the request `ack_id`.

        Raises OutcomeUnknown if that can't be learned in time: a lost acknowledgment and a lost
        request look alike, and repeats are removed by id on reading.
        """
        indexed = asyncio.get_running_loop().create_future()
        self._waiting[ack_id] = indexed
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="splunk-acks")
        try:
            async with asyncio.timeout(_ACK_LIMIT):
                await indexed
        except TimeoutError as error:
            note("splunk", Outcome.BUSY)
            raise OutcomeUnknown(
                f"Splunk has not acknowledged a request within {_ACK_LIMIT:g} s; it is sent again"
            ) from error
        finally:
            self._waiting.pop(ack_id, None)
            if not self._waiting and self._poller is not None:
                self._poller.cancel()
                self._poller = None

    async def _poll(self) -> None:
        """Ask until nobody waits, at longer intervals while there is no progress."""
        wait = _ACK_FIRST
        while True:
            asked = [ack_id for ack_id, one in self._waiting.items() if not one.done()]
            try:
                indexed = await self._ask(asked) if asked else []
            except Exception as error:  # noqa: BLE001 - handed to all that wait
                for ack_id in list(self._waiting):
                    self._settle(ack_id, error)
                return
            for ack_id in indexed:
                self._settle(ack_id, None)
                wait = _ACK_FIRST
            await asyncio.sleep(wait)
            wait = min(_ACK_CEILING, 2 * wait)

    async def _ask(self, ack_ids: list[int]) -> Iterable[int]:
        """Which of `ack_ids` are indexed. Raises OutcomeUnknown if that can't be learned ever."""
        try:
            response = await self._service.request(
                "POST",
                _ACK,
                content=orjson.dumps({"acks": ack_ids}),
                headers={
                    "Content-Type": "application/json",
                    "X-Splunk-Request-Channel": self.channel,
                },
            )
        except AgentError as error:
            log.debug("acknowledgments can't be polled", extra={"error": str(error)})
            return []
        answer = hec.read_answer(response.content)
        if answer.code == 14:  # ACK is disabled: taken is all there will ever be
            return ack_ids
        if answer.code in (10, 11):
            raise OutcomeUnknown("Splunk no longer knows the channel; the request is sent again")
        return hec.read_acks(response.content, ack_ids)

    def _settle(self, ack_id: int, error: Exception | None) -> None:
        one = self._waiting.get(ack_id)
        if one is None or one.done():
            return
        if error is None:
            one.set_result(None)
        else:
            one.set_exception(error)
