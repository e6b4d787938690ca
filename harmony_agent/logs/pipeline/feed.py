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
from harmony_agent.logs.pipeline.log_watch import LogWatch
from harmony_agent.logs.sources.position import Position
from harmony_agent.logs.sources.tail import Reading, Tail
from harmony_agent.logs.systems.interface import Limits

__all__ = ["CONDITION", "Feed"]

log = logging.getLogger(__name__)

CONDITION: Final = "log-source"

# A poll is a stat and two small reads in a thread: four a second take 0.2 % of a core, so a quiet
# log is polled less often. A change that the kernel tells ends the wait.
_POLL: Final = 0.25
_QUIET_POLL: Final = 0.5
_QUIET_AFTER: Final = 20  # polls

# Events that come one by one are gathered for so long (seconds from read to read): a request for
# each of them would take two thirds of a core at a thousand a second. Nor is a log looked at more
# often because it changes: each of Harmony's writes is a change.
_LINGER: Final = 0.1
_FEW: Final = 0.25  # of what a batch may hold

_READ_LIMIT: Final = 120.0  # seconds; unpacking a large archive is the longest
# A batch takes a few MB; reading is one batch ahead of delivery.
_LIMITS: Final = Limits(entries=2_000, size=4 * 1024 * 1024)


class Feed:
    """Reads `tail`, whose log is watched by `watch`; one call at a time. `beat` is called before
    each attempt."""

    def __init__(
        self, tail: Tail, watch: LogWatch, health: Health, beat: Callable[[], None]
    ) -> None:
        self._tail = tail
        self._watch = watch
        self._health = health
        self._beat = beat
        self._workers = Workers("log-source", 1)
        self._backoff = Backoff()
        self._quiet = 0  # polls without news
        self._not_before = 0.0  # the next look, in the loop's time
        self._not_after = 0.0
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
                reading = await self._workers.run(_READ_LIMIT, self._read, position, limits)
            except (OSError, OutcomeUnknown) as error:
                self._health.trouble(CONDITION, f"Harmony's log can't be read: {error}")
                log.error("Harmony's log can't be read, trying again: %s", error)
                await asyncio.sleep(self._backoff.next())
                continue
            except Exception as error:
                # The last line of defense: nothing in a log may end the stream.
                name = type(error).__name__
                self._health.trouble(
                    CONDITION, f"trying again after a fault of the agent itself: {name}"
                )
                log.exception(
                    "a fault of the agent itself stops it in Harmony's log, trying again",
                    extra={"offset": position.offset},
                )
                await asyncio.sleep(self._backoff.next())
                continue
            self._backoff.reset()
            self._plan(reading, position, limits, begun)
            self._health.ok(CONDITION, reading.after.context.product)
            self._tell_damage(reading)
            if reading.gap is not None:
                self._count_gap(reading.gap)
            return reading

    async def pause(self) -> None:
        """Wait until the log should be looked at again: not at all while it holds more."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._not_before - loop.time()))
        if (seconds := self._not_after - loop.time()) > 0:
            await self._watch.written(seconds)

    async def close(self) -> None:
        """Close the log."""
        await self._workers.run(_READ_LIMIT, self._close)
        self._workers.close()

    def _read(self, position: Position, limits: Limits) -> Reading:
        self._watch.begin()  # first: what is written while the log is read would be missed
        return self._tail.read(position, limits)

    def _close(self) -> None:
        self._watch.close()
        self._tail.close()

    def _plan(self, reading: Reading, position: Position, limits: Limits, begun: float) -> None:
        """Decide when to look again after a reading that began at `begun` (the loop's time)."""
        self._not_before = self._not_after = 0.0
        if reading.after == position:
            self._quiet += 1
            poll = _POLL if self._quiet < _QUIET_AFTER else _QUIET_POLL
            self._not_before = begun + _LINGER
            self._not_after = asyncio.get_running_loop().time() + poll
            return
        self._quiet = 0
        if 0 < len(reading.events) < _FEW * limits.entries and not reading.behind:
            self._not_before = begun + _LINGER

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
