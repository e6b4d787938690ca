"""The log stream of one node: from Harmony's log to the log system, and back on request."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from harmony_agent.core.errors import Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.logs import metrics
from harmony_agent.logs.event import format_time
from harmony_agent.logs.pipeline.checkpoint import Checkpoint
from harmony_agent.logs.pipeline.copies import Copies
from harmony_agent.logs.pipeline.dead_letters import DeadLetters
from harmony_agent.logs.pipeline.deliver import SEND_LIMIT, Delivery
from harmony_agent.logs.pipeline.feed import Feed
from harmony_agent.logs.pipeline.ledger import Ledger
from harmony_agent.logs.pipeline.log_watch import LogWatch
from harmony_agent.logs.pipeline.parking import Announce, Parking
from harmony_agent.logs.pipeline.pump import Pump
from harmony_agent.logs.pipeline.redelivery import Leftovers, Redelivery
from harmony_agent.logs.pipeline.resend import Resent, resend
from harmony_agent.logs.pipeline.segments import ParkedFolder
from harmony_agent.logs.query import Page, Query
from harmony_agent.logs.sources.reader import EventReader
from harmony_agent.logs.sources.tail import Tail
from harmony_agent.logs.systems.current import CurrentLogSystem
from harmony_agent.logs.systems.interface import LogSystem

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
        path = home / "logs" / "Harmony.xml"

        def tail() -> Tail:
            reader = EventReader(system=system, node=node, serial=serial, zone=zone)
            return Tail(path, path.parent / "archive", reader, state_dir)

        self._health = health
        self._log_system = CurrentLogSystem(log_system)
        self.dead_letters = DeadLetters(state_dir)
        self._checkpoint = Checkpoint(state_dir)
        self._feed = Feed(tail(), LogWatch(path), health, self._beat)
        self._delivery = Delivery(self._log_system, self.dead_letters, health, self._beat)
        ledger, copies = Ledger(state_dir), Copies()
        self._pump = Pump(
            self._feed,
            self._delivery,
            self._checkpoint,
            self._log_system,
            copies,
            health,
            self._beat,
        )
        self._redelivery = Redelivery(self._delivery)
        leftovers = Leftovers(ledger, self._redelivery)
        self._parking = Parking(tail(), ledger, copies, self._pump, leftovers, health)
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

    async def drain(self, seconds: float) -> int | None:
        """End streaming, and deliver what is in the log by now, for at most `seconds`.

        Returns None if that was all of it, else how many events are left undelivered, as far as
        they can be counted in a tenth of that, 2 s at most (none of those in a file that is being
        packed); they can be parked, and are delivered after the next start in any case.
        """
        self._draining = True
        await self._stop_streaming()
        try:
            async with asyncio.timeout(seconds):
                await self._pump.stream(until_end=True)
        except TimeoutError:
            return await self._pump.count_rest(min(_COUNT_SECONDS, 0.1 * seconds))
        return None

    async def park(self, folder: ParkedFolder, announce: Announce) -> None:
        """A root task: while the log system is down, keep copies of what is undelivered in
        `folder`; deliver what an earlier agent left there. See Parking."""
        await self._parking.run(folder, announce)

    async def park_rest(self, folder: ParkedFolder, announce: Announce, *, rest: bool) -> None:
        """After `drain`, which left a `rest` or not: put copies of that into `folder`, and delete
        those that are not needed any more.

        Raises AgentError and OSError; what is neither delivered nor parked stays in the log, and
        is read again after the next start.
        """
        await self._parking.finish(folder, announce, rest=rest)

    @property
    def parked(self) -> int:
        """How many events are parked, as far as is known."""
        return self._parking.events

    @property
    def delivers(self) -> bool:
        """Whether the log system takes events at this moment; also if that is not known, since
        nothing waits to be delivered."""
        return not (self._delivery.last_error and self._pump.pending)

    async def deliver_parked(self, folder: ParkedFolder) -> int:
        """Deliver what another node left in `folder`, and delete it there.

        Returns how many events that were. Raises Unavailable as soon as the log system takes none,
        and what the folder raises; called again, it goes on where it was.
        """
        delivered = 0
        for path in await folder.paths():
            delivered += await self._redelivery.deliver(folder, path, patient=False)
        return delivered

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
        await self._parking.close()
        self._redelivery.close()
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
            "parkedEvents": self._parking.events,
            "lagSeconds": round(self._pump.lag(), 3),
            "deadLetters": self.dead_letters.count,
            "deadLettersDropped": self.dead_letters.dropped,
            "damagedEvents": self._feed.damaged,
            "gaps": self._feed.gaps,
            "lostBytes": self._feed.lost_bytes,
            "lastError": self._delivery.last_error,
        }

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
