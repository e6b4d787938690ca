"""Keeps copies of undelivered events in the runtime repository, so that they survive the node.

The log stays the buffer: what is delivered comes from it, and the checkpoint knows nothing of
copies. They are deleted once their events are delivered, and delivered themselves only if the log
they were read from is lost.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import AgentError
from harmony_agent.core.threads import Workers
from harmony_agent.lifecycle.health import Health
from harmony_agent.logs import metrics
from harmony_agent.logs.pipeline.copies import Copies
from harmony_agent.logs.pipeline.ledger import Ledger, Row
from harmony_agent.logs.pipeline.pump import Pump
from harmony_agent.logs.pipeline.redelivery import Redelivery
from harmony_agent.logs.pipeline.segments import ParkedFolder, pack
from harmony_agent.logs.sources.tail import Reading, Tail
from harmony_agent.logs.systems.interface import Limits

__all__ = ["Announce", "Parking"]

log = logging.getLogger(__name__)

Announce = Callable[[bool], Awaitable[None]]
"""Tells the other nodes whether this one has parked anything; raises AgentError."""

CONDITION: Final = "log-parking"

_OUTAGE: Final = 30.0  # seconds without any delivery, then what is undelivered is parked
_TURN: Final = 5.0  # seconds; what is written in them is lost with the node
_READ_LIMIT: Final = 120.0  # seconds; unpacking a large archive is the longest
_LIMITS: Final = Limits(entries=5_000, size=4 * 1024 * 1024)
_AT_ONCE: Final = 8  # deletes


class Parking:
    """Reads the log behind the pump's back: with a `tail` of its own, only during an outage."""

    def __init__(
        self,
        tail: Tail,
        ledger: Ledger,
        copies: Copies,
        pump: Pump,
        redelivery: Redelivery,
        health: Health,
    ) -> None:
        self._tail = tail
        self._ledger = ledger
        self._copies = copies
        self._pump = pump
        self._redelivery = redelivery
        self._health = health
        self._workers = Workers("log-parking", 1)
        self._lock = asyncio.Lock()
        self._announced = False
        self._strangers: list[str] | None = None  # left by an earlier agent; None: not looked yet

    @property
    def events(self) -> int:
        """How many events this agent has parked, as far as is known."""
        return self._ledger.events

    async def run(self, folder: ParkedFolder, announce: Announce) -> None:
        """Park in an outage, clean up after it, for ever; deliver what an earlier agent left."""
        async with asyncio.TaskGroup() as tasks:
            keep = self._turns("parked", lambda: self._keep(folder, announce))
            deliver = self._turns("delivered from their copies", lambda: self._deliver(folder))
            tasks.create_task(keep, name="log-parking")
            tasks.create_task(deliver, name="log-parked")

    async def finish(self, folder: ParkedFolder, announce: Announce) -> int:
        """At the end: delete what is delivered by now, park all that is not.

        Returns how many events are parked in all. Raises AgentError; what is neither delivered nor
        parked stays in the log.
        """
        async with self._lock:
            await self._load(folder)
            await self._clear(folder)
            await self._park(folder, announce, to_end=True)
            await self._say_if_none(announce)
        return self._ledger.events

    async def close(self) -> None:
        """Close the log and the ledger; idempotent."""
        with suppress(AgentError):
            await self._workers.run(_READ_LIMIT, self._tail.close)
        self._workers.close()
        await self._ledger.close()

    async def _turns(self, what: str, turn: Callable[[], Awaitable[None]]) -> None:
        """One turn after the other, for ever, whatever fails."""
        backoff = Backoff(first=_TURN, ceiling=60.0)
        while True:
            try:
                await turn()
            except (AgentError, OSError) as error:
                self._health.trouble(CONDITION, f"events can't be {what}: {error}")
                log.warning("undelivered log events can't be %s, trying again: %s", what, error)
                await asyncio.sleep(backoff.next())
            except Exception:  # the log stream itself goes on without copies
                self._health.trouble(CONDITION, f"events can't be {what}: a fault of the agent")
                log.exception("undelivered log events can't be %s, trying again", what)
                await asyncio.sleep(backoff.next())
            else:
                backoff.reset()
                await asyncio.sleep(_TURN)

    async def _keep(self, folder: ParkedFolder, announce: Announce) -> None:
        async with self._lock:
            await self._load(folder)
            await self._clear(folder)
            if self._pump.stalled() >= _OUTAGE:
                await self._park(folder, announce, to_end=False)
            await self._say_if_none(announce)
        self._tell()

    async def _load(self, folder: ParkedFolder) -> None:
        """Once: learn what is parked, and by whom."""
        if self._strangers is None:
            await self._ledger.load()
            self._copies.newest = self._ledger.newest
            own = await self._ledger.paths()
            self._strangers = [path for path in await folder.paths() if path not in own]
            self._announced = bool(self._strangers or own)  # by the agent that parked them

    async def _clear(self, folder: ParkedFolder) -> None:
        """Delete the segments whose events were delivered from the log."""
        if not self._ledger.events:
            return
        rows = await self._ledger.delivered(self._copies.delivered, _AT_ONCE)
        if rows and not await self._log_is_whole():
            await self._ledger.want_all()
            return
        while rows:
            await asyncio.gather(*(folder.remove(row.path, row.token) for row in rows))
            for row in rows:
                await self._ledger.remove(row)
            rows = await self._ledger.delivered(self._copies.delivered, _AT_ONCE)

    async def _log_is_whole(self) -> bool:
        """Whether the log still has what was parked first. If not, it may have gone before it was
        delivered: to a position in a log of which nothing was ever acknowledged no gap shows."""
        place = await self._ledger.beginning()
        return place is None or await self._workers.run(_READ_LIMIT, self._tail.holds, place)

    async def _park(self, folder: ParkedFolder, announce: Announce, *, to_end: bool) -> None:
        """Park from where the last segment ends: `to_end` of the log, else as long as the outage
        lasts and until the log is read up to now."""
        place = await self._ledger.cursor() or await self._pump.position()
        while to_end or self._pump.stalled() >= _OUTAGE:
            reading: Reading = await self._workers.run(_READ_LIMIT, self._tail.read, place, _LIMITS)
            if reading.after == place:
                return
            place = reading.after
            if reading.events:
                if not self._announced:
                    await announce(True)
                    self._announced = True
                segment = await self._workers.run(_READ_LIMIT, pack, reading.events)
                path, token = await folder.put(segment)
                await self._ledger.add(path, token, segment.events, place)
                self._copies.newest = self._ledger.newest
                metrics.PARKED.inc(segment.events)
            if reading.at_end and not to_end:
                return

    async def _say_if_none(self, announce: Announce) -> None:
        if self._announced and not self._ledger.events and not self._strangers:
            await announce(False)
            self._announced = False

    async def _deliver(self, folder: ParkedFolder) -> None:
        """Deliver what an earlier agent of this node left, and what the log has lost."""
        delivered = 0
        while self._strangers:
            delivered += await self._redelivery.deliver(folder, self._strangers[0], patient=True)
            del self._strangers[0]
        if delivered:
            log.info("parked log events are delivered", extra={"events": delivered})
        if self._ledger.events:
            for row in await self._ledger.wanted(_AT_ONCE):
                await self._deliver_own(folder, row)

    async def _deliver_own(self, folder: ParkedFolder, row: Row) -> None:
        delivered = await self._redelivery.deliver(folder, row.path, patient=True)
        await self._ledger.remove(row)
        log.info("log events that the log lost are delivered", extra={"events": delivered})

    def _tell(self) -> None:
        metrics.PARKED_NOW.set(self._ledger.events)
        if self._ledger.events:
            message = f"{self._ledger.events} undelivered log events are parked"
            self._health.trouble(CONDITION, message)
        else:
            self._health.ok(CONDITION)
