"""Moves events from the feed to the delivery, and the checkpoint after them."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, TypeVar

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.logs import metrics
from harmony_agent.logs.event import Event
from harmony_agent.logs.pipeline.checkpoint import Checkpoint
from harmony_agent.logs.pipeline.deliver import Delivery
from harmony_agent.logs.pipeline.feed import Feed
from harmony_agent.logs.sources.position import Position
from harmony_agent.logs.sources.tail import Reading
from harmony_agent.logs.systems.current import CurrentLogSystem

__all__ = ["CONDITION", "Pump"]

log = logging.getLogger(__name__)
T = TypeVar("T")

CONDITION: Final = "log-checkpoint"


class Pump:
    """One batch is being delivered and at most one is read ahead: that bounds memory, and the log
    file itself is the buffer for all that comes after.

    Each method may be cancelled at any moment; the next call goes on without loss, at worst with
    one repeated delivery. Only one of them runs at a time.
    """

    def __init__(
        self,
        feed: Feed,
        delivery: Delivery,
        checkpoint: Checkpoint,
        log_system: CurrentLogSystem,
        health: Health,
        beat: Callable[[], None],
    ) -> None:
        self._feed = feed
        self._delivery = delivery
        self._checkpoint = checkpoint
        self._log_system = log_system
        self._health = health
        self._beat = beat
        self._backoff = Backoff()
        self._done: Position | None = None  # after the last event that is done with
        self._ahead: asyncio.Task[Reading] | None = None
        self._after: Position | None = None  # after `events`
        self.events: list[Event] = []  # read and not done with yet
        self.behind = 0  # bytes of the file beyond them
        self.delivered = 0
        self.last_delivery: datetime | None = None

    @property
    def product(self) -> str:
        """Product and version that write the log, empty before the first event."""
        return self._done.context.product if self._done else ""

    def lag(self) -> float:
        """Age in seconds of the oldest event that is not done with; 0 without one."""
        if not self.events:
            return 0.0
        return max(0.0, (datetime.now(UTC) - self.events[0].time).total_seconds())

    async def stream(self, *, until_end: bool) -> None:
        """Deliver what the log holds: for ever, or until its present end."""
        try:
            while await self._fill() or not until_end:
                if self.events:
                    self._read_ahead()
                    await self._deliver()
                else:
                    await self._feed.pause()
        finally:
            await self._stop_reading()

    async def rest(self) -> AsyncGenerator[list[Event]]:
        """What is not done with, batch by batch; a batch is done with once the next is asked for.

        Leaving early leaves the batch undone.
        """
        while await self._fill():
            yield self.events
            await self._finish()

    async def count_rest(self, seconds: float) -> int:
        """How many events are not done with, as far as they can be read in `seconds`."""
        count = len(self.events)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                position = self._after or await self._position()
                while True:
                    reading = await self._feed.next(position, self._log_system.limits)
                    if reading.after == position:
                        break
                    count += len(reading.events)
                    position = reading.after
        return count

    async def _fill(self) -> bool:
        """Have events to deliver, unless the log has no more."""
        position = await self._position()
        while not self.events:
            reading = await self._next(position)
            self._set_behind(reading)
            if reading.after == position:
                return False
            self.events, self._after = reading.events, reading.after
            if not reading.events:
                self._done = position = reading.after
        return True

    async def _next(self, position: Position) -> Reading:
        if self._ahead is None:
            return await self._feed.next(position, self._log_system.limits)
        reading = await self._ahead
        self._ahead = None
        return reading

    def _read_ahead(self) -> None:
        if self._ahead is None and self._after is not None:
            self._ahead = asyncio.create_task(
                self._feed.next(self._after, self._log_system.limits), name="log-read-ahead"
            )

    async def _stop_reading(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            with suppress(asyncio.CancelledError):
                await ahead

    async def _deliver(self) -> None:
        while self.events:
            acknowledged = await self._delivery.attempt(self.events)
            if acknowledged:
                self.last_delivery = datetime.now(UTC)
            self.delivered += acknowledged
            self.events = self.events[acknowledged:]
        await self._finish()

    async def _finish(self) -> None:
        """Everything up to `_after` is done with: remember it."""
        assert self._after is not None
        done = self._after
        self.events, self._done = [], done
        await self._tried(lambda: self._checkpoint.save(done, self.delivered))

    async def _position(self) -> Position:
        """After the last event that is done with; the first call loads it."""
        if self._done is None:
            loaded = await self._tried(self._checkpoint.load)
            self._done, self.delivered = loaded
        return self._done

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

    def _set_behind(self, reading: Reading) -> None:
        self.behind = reading.behind
        metrics.BEHIND.set(reading.behind)
