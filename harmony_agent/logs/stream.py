"""The log stream of one node: from Harmony's log to the log system, and back on request."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import Absent, AgentError, PreconditionFailed, Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.logs import metrics
from harmony_agent.logs.event import format_time
from harmony_agent.logs.pipeline.checkpoint import Checkpoint
from harmony_agent.logs.pipeline.dead_letters import DeadLetters
from harmony_agent.logs.pipeline.deliver import SEND_LIMIT, Delivery
from harmony_agent.logs.pipeline.feed import Feed
from harmony_agent.logs.pipeline.parked import park, parked_segments, unpack
from harmony_agent.logs.pipeline.pump import Pump
from harmony_agent.logs.pipeline.resend import Resent, resend
from harmony_agent.logs.query import Page, Query
from harmony_agent.logs.sources.reader import EventReader
from harmony_agent.logs.sources.tail import Tail
from harmony_agent.logs.systems.current import CurrentLogSystem
from harmony_agent.logs.systems.interface import LogSystem
from harmony_agent.repositories.interface import Repository

__all__ = ["LogStream"]

log = logging.getLogger(__name__)

_LOOP: Final = "log-stream"
# The longest turn waits for a log system that never answers.
_LOOP_LIMIT: Final = 2 * SEND_LIMIT
_COUNT_SECONDS: Final = 2.0


class LogStream:
    """Reads `<home>/logs/Harmony.xml`, delivers each event, remembers how far.

    `run` is the root task; `drain` ends it at the end of the agent's life. The log, its directory
    and the log system may be missing for any length of time. `time_zone` is Harmony's `TZ` (None:
    the process's own); raises zoneinfo.ZoneInfoNotFoundError if there is no such zone.
    """

    def __init__(
        self,
        *,
        home: Path,
        system: str,
        node: str,
        serial: Callable[[], str | None],
        state_dir: Path,
        log_system: LogSystem,
        health: Health,
        time_zone: str | None = None,
    ) -> None:
        zone = ZoneInfo(time_zone) if time_zone else None
        reader = EventReader(system=system, node=node, serial=serial, zone=zone)
        tail = Tail(home / "logs" / "Harmony.xml", home / "logs" / "archive", reader, state_dir)
        self._health = health
        self._log_system = CurrentLogSystem(log_system)
        self.dead_letters = DeadLetters(state_dir)
        self._checkpoint = Checkpoint(state_dir)
        self._feed = Feed(tail, health, self._beat)
        self._delivery = Delivery(self._log_system, self.dead_letters, health, self._beat)
        self._pump = Pump(
            self._feed, self._delivery, self._checkpoint, self._log_system, health, self._beat
        )
        self._streaming: asyncio.Task[None] | None = None
        self._draining = False
        health.sections["logs"] = self.status
        metrics.LAG.set_function(self._pump.lag)

    async def run(self) -> None:
        """Stream for ever; ends only by cancellation."""
        if not self._draining:
            await self._count_dead_letters()
            self._health.register_loop(_LOOP, _LOOP_LIMIT)
            streaming = asyncio.create_task(self._pump.stream(until_end=False), name=_LOOP)
            self._streaming = streaming
            try:
                await asyncio.wait([streaming])  # not awaited itself: `drain` cancels it
            finally:
                await self._stop_streaming()
                self._health.retire_loop(_LOOP)
            if not self._draining:
                streaming.result()
        await asyncio.Event().wait()  # a root task that ends would stop all others

    async def drain(self, seconds: float) -> int:
        """End streaming, and deliver what is in the log by now, for at most `seconds`.

        Returns how many events are left undelivered (as far as they can be counted in 2 s); they
        can be parked, and are delivered after the next start in any case.
        """
        self._draining = True
        await self._stop_streaming()
        try:
            async with asyncio.timeout(seconds):
                await self._pump.stream(until_end=True)
        except TimeoutError:
            return await self._pump.count_rest(_COUNT_SECONDS)
        return 0

    async def park(self, repository: Repository, folder: str, seconds: float) -> int:
        """After `drain`: put what is left into `folder` of `repository`, for at most `seconds`.

        Returns how many events are parked; never raises for a failure, which is told: what is
        neither delivered nor parked stays in the log, and is read again after the next start.
        """
        parked = 0
        try:
            async with asyncio.timeout(seconds), aclosing(self._pump.rest()) as rest:
                async for events in rest:
                    await park(repository, folder, events)
                    parked += len(events)
                    metrics.PARKED.inc(len(events))
        except (AgentError, TimeoutError) as error:
            log.error("not all undelivered events could be parked: %s", error or "out of time")
        return parked

    async def deliver_parked(self, repository: Repository, folder: str) -> int:
        """Deliver what an earlier agent parked in `folder`, and delete it there.

        Tries until all is done; beside `run`. Returns how many events that were. A damaged
        segment is told and left where it is.
        """
        backoff, delivered = Backoff(ceiling=300.0), 0
        damaged: set[str] = set()
        while True:
            try:
                segments = await parked_segments(repository, folder)
                for segment in segments:
                    if segment not in damaged:
                        delivered += await self._deliver_segment(repository, segment, damaged)
                return delivered
            except AgentError as error:
                log.warning("parked events can't be fetched, trying again: %s", error)
                await asyncio.sleep(backoff.next())

    async def rotate(self, log_system: LogSystem) -> None:
        """Use `log_system` from now on, at once if deliveries wait; the old one is closed."""
        await self._log_system.replace(log_system)

    async def resend(self, ids: Sequence[str]) -> Resent:
        """Send the dead letters `ids` once more; raises what `pipeline.resend` raises."""
        return await resend(self.dead_letters, self._log_system, ids)

    async def search(self, query: Query) -> Page:
        """One page from the log system, without repeats; raises what `LogSystem.search` raises."""
        async with self._log_system.use() as system:
            page = await system.search(query)
        once = {event["id"]: event for event in page.resources}
        return replace(page, resources=list(once.values()))

    async def close(self) -> None:
        """Give back files, threads and the log system's connections."""
        await self._stop_streaming()
        await self._feed.close()
        await self._checkpoint.close()
        await self.dead_letters.close()
        await self._log_system.close()

    def status(self) -> Mapping[str, Any]:
        """This part's share of /api/status."""
        last = self._pump.last_delivery
        return {
            "system": self._log_system.kind,
            "product": self._pump.product,
            "delivered": self._pump.delivered,
            "lastDelivery": format_time(last) if last else None,
            "pendingEvents": self._pump.pending,
            "pendingBytes": self._pump.behind,
            "lagSeconds": round(self._pump.lag(), 3),
            "deadLetters": self.dead_letters.count,
            "deadLettersDropped": self.dead_letters.dropped,
            "damagedEvents": self._feed.damaged,
            "gaps": self._feed.gaps,
            "lostBytes": self._feed.lost_bytes,
            "lastError": self._delivery.last_error,
        }

    async def _deliver_segment(self, repository: Repository, path: str, damaged: set[str]) -> int:
        """Deliver one segment; how many events it held. Raises what the repository raises."""
        try:
            content = await repository.read(path)
            events = unpack(content.data)
        except Absent:
            return 0
        except ValueError as error:
            damaged.add(path)
            log.error("parked events are damaged and left in %s: %s", path, error)
            return 0
        rest = events
        while rest:
            rest = rest[await self._delivery.attempt(rest) :]
        with suppress(PreconditionFailed):  # another agent of this host was faster
            await repository.delete(path, content.token)
        return len(events)

    async def _count_dead_letters(self) -> None:
        try:
            await self.dead_letters.load()
        except Unavailable as error:
            log.error("the dead letters can't be counted: %s", error)

    def _beat(self) -> None:
        if self._streaming is not None:
            self._health.beat(_LOOP)

    async def _stop_streaming(self) -> None:
        streaming, self._streaming = self._streaming, None
        if streaming is not None:
            streaming.cancel()
            await asyncio.wait([streaming])
