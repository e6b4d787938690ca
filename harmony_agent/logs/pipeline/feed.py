"""The reading side of the pipeline: batches from the log, in a thread, at the pace of delivery."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import OutcomeUnknown
from harmony_agent.core.threads import Workers
from harmony_agent.lifecycle.health import Health
from harmony_agent.logs import metrics
from harmony_agent.logs.sources.position import Position
from harmony_agent.logs.sources.tail import Reading, Tail
from harmony_agent.logs.systems.interface import Limits

__all__ = ["CONDITION", "Feed"]

log = logging.getLogger(__name__)

CONDITION: Final = "log-source"

# A poll is a stat and two small reads in a thread: four a second take 0.2 % of a core, so a quiet
# log is polled less often. Change notifications would cost more, one for each of Harmony's writes.
_POLL: Final = 0.25
_QUIET_POLL: Final = 0.5
_QUIET_AFTER: Final = 20  # polls

# Events that come one by one are gathered for so long (seconds from read to read): a request for
# each of them would take two thirds of a core at a thousand a second.
_LINGER: Final = 0.1
_FEW: Final = 0.25  # of what a batch may hold

_READ_LIMIT: Final = 120.0  # seconds; unpacking a large archive is the longest
# A batch takes a few MB; reading is one batch ahead of delivery.
_LIMITS: Final = Limits(entries=2_000, size=4 * 1024 * 1024)


class Feed:
    """Reads `tail`; one call at a time. `beat` is called before each attempt."""

    def __init__(self, tail: Tail, health: Health, beat: Callable[[], None]) -> None:
        self._tail = tail
        self._health = health
        self._beat = beat
        self._workers = Workers("log-source", 1)
        self._backoff = Backoff()
        self._quiet = 0  # polls without news
        self._next_look = 0.0  # the loop's time
        self.damaged = 0
        self.gaps = 0
        self.lost_bytes = 0

    async def next(self, position: Position, limits: Limits) -> Reading:
        """What follows `position`: events, or none if there are none yet.

        A log that can't be read is told and tried again, for ever.
        """
        limits = Limits(min(limits.entries, _LIMITS.entries), min(limits.size, _LIMITS.size))
        while True:
            self._beat()
            begun = asyncio.get_running_loop().time()
            try:
                reading = await self._workers.run(_READ_LIMIT, self._tail.read, position, limits)
            except (OSError, OutcomeUnknown) as error:
                self._health.trouble(CONDITION, f"Harmony's log can't be read: {error}")
                log.error("Harmony's log can't be read, trying again: %s", error)
                await asyncio.sleep(self._backoff.next())
                continue
            self._backoff.reset()
            self._next_look = self._look_after(reading, position, limits, begun)
            self._health.ok(CONDITION, reading.after.context.product)
            self._tell_damage(reading)
            if reading.gap is not None:
                self._count_gap(reading.gap)
            return reading

    async def pause(self) -> None:
        """Wait until the log should be looked at again: not at all while it holds more."""
        await asyncio.sleep(max(0.0, self._next_look - asyncio.get_running_loop().time()))

    async def close(self) -> None:
        """Close the log."""
        await self._workers.run(_READ_LIMIT, self._tail.close)
        self._workers.close()

    def _look_after(
        self, reading: Reading, position: Position, limits: Limits, begun: float
    ) -> float:
        """When to look again after a reading that began at `begun`; moments of the loop's time."""
        if reading.after == position:
            self._quiet += 1
            poll = _POLL if self._quiet < _QUIET_AFTER else _QUIET_POLL
            return asyncio.get_running_loop().time() + poll
        self._quiet = 0
        few = 0 < len(reading.events) < _FEW * limits.entries
        return begun + _LINGER if few and not reading.behind else 0.0

    def _tell_damage(self, reading: Reading) -> None:
        for damage in reading.damage:
            metrics.DAMAGED.labels(damage.kind).inc()
        if reading.damage:
            self.damaged += len(reading.damage)
            log.warning(
                "%d damaged events in Harmony's log; what can be read of them is delivered",
                len(reading.damage),
                extra={"kind": reading.damage[0].kind, "first_offset": reading.damage[0].offset},
            )

    def _count_gap(self, size: int) -> None:
        self.gaps += 1
        self.lost_bytes += size
        metrics.GAPS.inc()
        metrics.LOST_BYTES.inc(size)
