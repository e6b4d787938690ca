"""Moves events from the feed to the delivery, and the checkpoint after them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, TypeVar

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.logs import metrics
from harmony_agent.logs.pipeline.checkpoint import Checkpoint
from harmony_agent.logs.pipeline.copies import Copies
from harmony_agent.logs.pipeline.deliver import Delivery
from harmony_agent.logs.pipeline.feed import Feed
from harmony_agent.logs.pipeline.window import Batch, InFlight
from harmony_agent.logs.sources.position import Position
from harmony_agent.logs.sources.tail import Reading
from harmony_agent.logs.sources.taking import UNSETTLED_PAUSE
from harmony_agent.logs.systems.current import CurrentLogSystem

__all__ = ["CONDITION", "Pump"]

log = logging.getLogger(__name__)
T = TypeVar("T")

CONDITION: Final = "log-checkpoint"

# Of the log, whose events take some times as much in memory.
_MOST_BYTES: Final = 8 * 1024 * 1024
_BEAT_SECONDS: Final = 60.0  # at least so often, while all wait for better times


class Pump:
    """Several batches are being delivered, as many as the log system bears, and at most one is
    read ahead: that bounds memory, and the log file itself is the buffer for all that comes after.

    Batches begin in order. When one fails, later ones may have arrived before it; the checkpoint
    waits for it, and each event keeps its id.

    Each method may be cancelled at any moment; the next call goes on without loss, at worst with
    one repeated delivery of what was in flight. Only one of them runs at a time.
    """

    def __init__(
        self,
        feed: Feed,
        delivery: Delivery,
        checkpoint: Checkpoint,
        log_system: CurrentLogSystem,
        copies: Copies,
        health: Health,
        beat: Callable[[], None],
    ) -> None:
        self._feed = feed
        self._delivery = delivery
        self._checkpoint = checkpoint
        self._log_system = log_system
        self._copies = copies
        self._health = health
        self._beat = beat
        self._backoff = Backoff()
        self._flight = InFlight()
        self._done: Position | None = None  # all before it is done with
        self._read: Position | None = None  # all before it is done with or in flight
        self._reading: asyncio.Task[Reading] | None = None
        self._sending: dict[asyncio.Task[int], Batch] = {}
        self._unsettled = False  # files were being packed when the log was looked at last
        self._moved = 0.0  # the loop's time of the last delivery, or when there was none to make
        self.behind = 0  # bytes of the file beyond what is in flight
        self.delivered = 0
        self.last_delivery: datetime | None = None

    @property
    def product(self) -> str:
        """Product and version that write the log, empty before the first event."""
        return self._done.context.product if self._done else ""

    @property
    def pending(self) -> int:
        """How many events were read and are not done with."""
        return self._flight.pending

    @property
    def waiting(self) -> int:
        """How many events are not done with: those that were read, and an estimate of what lies
        beyond them in their file."""
        return self.pending + self.behind * self.pending // max(1, self._flight.size)

    def lag(self) -> float:
        """Age in seconds of the oldest event that is not done with; 0 without one."""
        oldest = next((batch.events[0] for batch in self._flight if batch.events), None)
        if oldest is None:
            return 0.0
        return max(0.0, (datetime.now(UTC) - oldest.time).total_seconds())

    def stalled(self) -> float:
        """For how many seconds events wait without any delivery."""
        return asyncio.get_running_loop().time() - self._moved if self._flight else 0.0

    async def position(self) -> Position:
        """The place in the log before which all is done with."""
        await self._position()
        assert self._done is not None
        return self._done

    async def stream(self, *, until_end: bool) -> None:
        """Deliver what the log holds: for ever, or until its present end, which is waited for as
        long as it can't be seen."""
        position = await self._position()
        copies = 0  # parked before the log is being looked at
        ended = False  # there is no more to read, as far as was seen
        try:
            while not (ended and until_end and not self._flight):
                self._send_more()
                if self._reading is None and self._has_room(ended and until_end):
                    copies = self._copies.newest
                    self._reading = asyncio.create_task(
                        self._look(position, at_once=until_end), name="log-read"
                    )
                tasks = [*self._sending, *([self._reading] if self._reading else [])]
                await asyncio.wait(
                    tasks, timeout=_BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                self._beat()
                if self._reading is not None and self._reading.done():
                    reading, self._reading = self._reading.result(), None
                    ended = not self._take(reading) and not reading.unsettled
                    position = reading.after
                    if reading.at_end:
                        self._flight.cover(copies)
                self._settle()
                await self._advance()
        finally:
            await self._stop()

    async def count_rest(self, seconds: float) -> int:
        """How many events are not done with, as far as they can be read in `seconds`."""
        count = self.pending
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                position = await self._position()
                while True:
                    reading = await self._feed.next(position, self._log_system.limits)
                    if reading.unsettled:
                        await asyncio.sleep(UNSETTLED_PAUSE)
                    elif reading.after == position:
                        break
                    count += len(reading.events)
                    position = reading.after
        return count

    def _has_room(self, ended: bool) -> bool:
        """Whether to read on; at the end only once all is delivered, to see what came since."""
        if ended:
            return not self._flight
        return len(self._flight) <= self._delivery.window.size and self._flight.size < _MOST_BYTES

    async def _look(self, position: Position, *, at_once: bool) -> Reading:
        if not at_once:
            await self._feed.pause()
        elif self._unsettled:
            await asyncio.sleep(UNSETTLED_PAUSE)
        return await self._feed.next(position, self._log_system.limits)

    def _take(self, reading: Reading) -> bool:
        """Put what was read into flight; whether that was anything."""
        self._unsettled = reading.unsettled
        self.behind = reading.behind
        metrics.BEHIND.set(reading.behind)
        if reading.after == self._read:
            return False
        if reading.events:
            if not self._flight:
                self._moved = asyncio.get_running_loop().time()
            self._flight.add(Batch(reading.events, reading.after, reading.size))
        elif not self._flight.extend(reading.after):
            self._done = reading.after
        self._read = reading.after
        return True

    def _send_more(self) -> None:
        """Begin an attempt for the first batches that wait, as far as the window allows."""
        busy = set(self._sending.values())
        for batch in self._flight:
            if len(self._sending) >= self._delivery.window.size:
                break
            if batch.events and batch not in busy:
                task = asyncio.create_task(self._delivery.attempt(batch.events), name="log-send")
                self._sending[task] = batch

    def _settle(self) -> None:
        """Note what the attempts that have ended are done with."""
        for task in [task for task in self._sending if task.done()]:
            batch = self._sending.pop(task)
            acknowledged = 0 if task.cancelled() else task.result()
            if acknowledged:
                self.last_delivery = datetime.now(UTC)
                self._moved = asyncio.get_running_loop().time()
                self.delivered += acknowledged
                batch.events = batch.events[acknowledged:]

    async def _advance(self) -> None:
        """Remember how far everything is done with."""
        done = self._flight.advance()
        if done is not None:
            self._done = done
            await self._tried(lambda: self._checkpoint.save(done, self.delivered))
        self._copies.delivered = self._flight.copies

    async def _stop(self) -> None:
        """End attempts and reading; what they have got done counts."""
        tasks = [*self._sending, *([self._reading] if self._reading else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._settle()
        self._reading = None

    async def _position(self) -> Position:
        """Where to read on; the first call loads it."""
        if self._read is None:
            position, self.delivered = await self._tried(self._checkpoint.load)
            self._read = self._done = position
        return self._read

    async def _tried(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call to the checkpoint, tried until it works: a state directory that is
        full or read-only stops the stream, and is told."""
        while True:
            self._beat()
            try:
                result = await call()
            except Unavailable as error:
                self._health.trouble(CONDITION, str(error))
                log.error("how far the log is delivered can't be kept, trying again: %s", error)
                await asyncio.sleep(self._backoff.next())
            else:
                self._backoff.reset()
                self._health.ok(CONDITION)
                return result
