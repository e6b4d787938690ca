"""Keeps copies of undelivered events in the runtime repository, so that they survive the node.

The log stays the buffer: what is delivered comes from it, and the checkpoint knows nothing of
copies. They are deleted once their events are delivered, and delivered themselves only if the log
they were read from is lost.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import AgentError
from harmony_agent.core.threads import Workers
from harmony_agent.lifecycle.health import Health
from harmony_agent.logs import metrics
from harmony_agent.logs.pipeline.copies import Copies
from harmony_agent.logs.pipeline.ledger import Ledger, Row
from harmony_agent.logs.pipeline.outage import Look, followed, is_down
from harmony_agent.logs.pipeline.pump import Pump
from harmony_agent.logs.pipeline.redelivery import Leftovers
from harmony_agent.logs.pipeline.segments import ParkedFolder, Segment, pack
from harmony_agent.logs.sources.position import Position
from harmony_agent.logs.sources.tail import Reading, Tail
from harmony_agent.logs.sources.taking import UNSETTLED_PAUSE
from harmony_agent.logs.systems.interface import Limits

__all__ = ["Announce", "Parking"]

log = logging.getLogger(__name__)

Announce = Callable[[bool], Awaitable[None]]
"""Tells the other nodes whether this one has parked anything; raises AgentError."""

CONDITION: Final = "log-parking"

_TURN: Final = 5.0  # seconds; what is written in them is lost with the node
# Turns grow by as much with each thousand segments, so that these stay in the thousands.
_LONGEST_TURN: Final = 60.0
_ANNOUNCE_AGAIN: Final = 600.0  # seconds; a node that adopted what was parked has taken it back
_READ_LIMIT: Final = 120.0  # seconds; unpacking a large archive is the longest
_LIMITS: Final = Limits(entries=5_000, size=4 * 1024 * 1024)
_AT_ONCE: Final = 16  # deletes


class Parking:
    """Reads the log behind the pump's back: with a `tail` of its own, only during an outage."""

    def __init__(
        self,
        tail: Tail,
        ledger: Ledger,
        copies: Copies,
        pump: Pump,
        leftovers: Leftovers,
        health: Health,
    ) -> None:
        self._tail = tail
        self._ledger = ledger
        self._copies = copies
        self._pump = pump
        self._leftovers = leftovers
        self._health = health
        self._workers = Workers("log-parking", 1)
        self._lock = asyncio.Lock()
        self._pending: tuple[Segment, Position] | None = None  # may be there, has no row yet
        self._announced_at: float | None = None  # the loop's time
        self._is_named = False  # as far as we know
        self._is_loaded = False
        self._looks: tuple[Look, ...] = ()  # at the pump, turn by turn

    @property
    def events(self) -> int:
        """How many events this agent has parked, as far as is known."""
        return self._ledger.events

    async def run(self, folder: ParkedFolder, announce: Announce) -> None:
        """Park in an outage, clean up after it, for ever; deliver what an earlier agent left."""
        async with asyncio.TaskGroup() as tasks:
            keep = self._turns("parked", lambda: self._keep(folder, announce))
            deliver = self._turns(
                "delivered from their copies", lambda: self._leftovers.deliver(folder)
            )
            tasks.create_task(keep, name="log-parking")
            tasks.create_task(deliver, name="log-parked")

    async def finish(self, folder: ParkedFolder, announce: Announce, *, rest: bool) -> None:
        """At the end: park all that is not delivered, if there is a `rest`; delete what is. What
        can't be read at this moment, as a file is being packed, is waited for.

        Raises AgentError and OSError; what is neither delivered nor parked stays in the log.
        """
        async with self._lock:
            await self._load(folder)
            if rest:
                await self._park(folder, announce, to_end=True)
            await self._clear(folder)
            await self._say_if_none(announce)

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
                grown = _TURN * (1 + self._ledger.segments / 1000)
                await asyncio.sleep(min(grown, _LONGEST_TURN))

    async def _keep(self, folder: ParkedFolder, announce: Announce) -> None:
        self._looks = followed(self._looks, self._look())
        async with self._lock:
            await self._load(folder)
            await self._clear(folder)
            if self._pending is not None or self._is_outage():
                await self._park(folder, announce, to_end=False)
            await self._say_if_none(announce)
        self._tell()

    async def _load(self, folder: ParkedFolder) -> None:
        """Once: learn what is parked, and by whom."""
        if not self._is_loaded:
            await self._ledger.load()
            self._copies.newest = self._ledger.newest
            own = await self._ledger.paths()
            await self._leftovers.look(folder, own)
            self._is_named = bool(self._leftovers.strangers or own)  # by the agent that parked them
            self._is_loaded = True

    async def _clear(self, folder: ParkedFolder) -> None:
        """Delete the segments whose events were delivered from the log."""
        while self._ledger.events:
            rows = await self._ledger.delivered(self._copies.delivered, _AT_ONCE)
            if not rows:
                return
            lost = await self._workers.run(_READ_LIMIT, self._lost, rows)
            if lost is None:
                return
            if lost:
                await self._ledger.want(lost)
                continue
            await asyncio.gather(*(folder.remove(row.path, row.token) for row in rows))
            await self._ledger.remove(rows)

    def _lost(self, rows: Sequence[Row]) -> list[Row] | None:
        """Those of `rows` that were read from files which the log and its archive have no more, and
        which may have gone before they were delivered; None: that can't be told now. Blocking.

        What is read on from one file tells of it at its beginning and its end: a packed one takes
        long to look at.
        """
        lost: list[Row] = []
        for run in _runs(rows):
            held = {self._tail.holds(run[place].after) for place in (0, -1)}
            if None in held:
                return None
            if False in held:
                lost += run
        return lost

    async def _park(self, folder: ParkedFolder, announce: Announce, *, to_end: bool) -> None:
        """Park from where the last segment ends: `to_end` of the log, else as long as the outage
        lasts and until the log is read up to now."""
        if self._pending is not None:
            await self._put(folder, announce, *self._pending)
        place = await self._ledger.cursor() or await self._pump.position()
        while to_end or self._is_outage():
            reading: Reading = await self._workers.run(_READ_LIMIT, self._tail.read, place, _LIMITS)
            if reading.unsettled and to_end:
                await asyncio.sleep(UNSETTLED_PAUSE)
            elif reading.after == place:
                return
            place = reading.after
            if reading.events:
                segment = await self._workers.run(_READ_LIMIT, pack, reading.events)
                self._pending = segment, place
                await self._put(folder, announce, *self._pending)
            if reading.at_end and not to_end:
                return

    async def _put(
        self, folder: ParkedFolder, announce: Announce, segment: Segment, after: Position
    ) -> None:
        """Park `segment`, unless an earlier try did. The log may have grown since that try: another
        segment would hold its events once more."""
        await self._announce(announce)
        path, token = await folder.put(segment)
        await self._ledger.add(path, token, segment.events, after)
        self._pending = None
        self._copies.newest = self._ledger.newest
        metrics.PARKED.inc(segment.events)

    async def _announce(self, announce: Announce) -> None:
        now = asyncio.get_running_loop().time()
        if self._announced_at is None or now - self._announced_at > _ANNOUNCE_AGAIN:
            await announce(True)
            self._announced_at, self._is_named = now, True

    async def _say_if_none(self, announce: Announce) -> None:
        if self._is_named and not self._ledger.events and not self._leftovers.strangers:
            await announce(False)
            self._announced_at, self._is_named = None, False

    def _look(self) -> Look:
        now = asyncio.get_running_loop().time()
        return Look(now, self._pump.delivered, self._pump.waiting)

    def _is_outage(self) -> bool:
        return is_down(self._pump.stalled(), (*self._looks, self._look()))

    def _tell(self) -> None:
        metrics.PARKED_NOW.set(self._ledger.events)
        if self._ledger.events:
            message = f"{self._ledger.events} undelivered log events are parked"
            self._health.trouble(CONDITION, message)
        else:
            self._health.ok(CONDITION)


def _runs(rows: Sequence[Row]) -> list[list[Row]]:
    """`rows` cut where they were not read on from the same file."""
    runs: list[list[Row]] = []
    for row in rows:
        last = runs[-1][-1].after if runs else None
        if last is None or last.file != row.after.file or row.after.offset < last.offset:
            runs.append([])
        runs[-1].append(row)
    return runs
