"""Time that can't be turned back: what the agent believes, and how much of an outage has elapsed.

Within a machine's boot, CLOCK_BOOTTIME measures: it runs on in suspend and nobody can set it. The
wall clock is looked at once per boot, to find the place in the calendar. A wall clock that is set
while the agent runs, or while the agent restarts on the same boot, changes nothing.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

__all__ = ["Clock", "Meter", "Moment", "SystemClock", "Timekeeper"]

# A Date header has whole seconds and a network's delay; less than this is no contradiction.
_CONTRADICTION: Final = 3600.0

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Where time comes from."""

    def wall(self) -> float:
        """The wall clock, in seconds since 1970."""

    def boottime(self) -> float:
        """Seconds since the machine booted, suspend included."""

    def boot_id(self) -> str:
        """Names one boot of one machine."""


class SystemClock:
    """The kernel's clocks."""

    def wall(self) -> float:
        """The wall clock, in seconds since 1970."""
        return time.time()

    def boottime(self) -> float:
        """CLOCK_BOOTTIME (clock_gettime(2))."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """random(4): a UUID that the kernel makes at boot; empty where /proc is hidden."""
        try:
            return _BOOT_ID.read_text().strip()
        except OSError:
            return ""


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant as the agent believes it: `now` in seconds since 1970, at `boot` seconds of the
    boot `boot_id`; `confirmed` by a Date header over verified TLS."""

    now: float
    boot: float
    boot_id: str
    confirmed: bool = False

    def passed_until(self, boot: float, boot_id: str) -> float | None:
        """Seconds from here to `boot` of `boot_id`; None if BOOTTIME can't tell: another boot, or
        a virtual machine that was set back."""
        same_boot = bool(boot_id) and boot_id == self.boot_id and boot >= self.boot
        return boot - self.boot if same_boot else None


class Timekeeper:
    """What time it is, whatever is done to the wall clock."""

    def __init__(self, clock: Clock, saved: Moment | None = None) -> None:
        """`saved` is the moment that an earlier process stored."""
        self._clock = clock
        boot, boot_id = clock.boottime(), clock.boot_id()
        if saved is not None and saved.passed_until(boot, boot_id) is not None:
            self._anchor = saved
        else:
            self._anchor = Moment(clock.wall(), boot, boot_id)

    def moment(self) -> Moment:
        """This instant."""
        boot = self._clock.boottime()
        anchor = self._anchor
        passed = max(0.0, boot - anchor.boot)
        return Moment(anchor.now + passed, boot, anchor.boot_id, anchor.confirmed)

    def hear(self, date: float) -> bool:
        """Take note of a Date header from a verified TLS answer; True if it moved our time.

        After a boot (or a first start) the wall clock may have been set while nobody measured, so
        the first Date that contradicts it is believed. Later, one server's wrong clock alone
        can't move us: the wall clock has to agree with it.
        """
        now = self.moment()
        contradicts = abs(date - now.now) > _CONTRADICTION
        believed = not now.confirmed or abs(date - self._clock.wall()) <= _CONTRADICTION
        moves = contradicts and believed
        if moves or not contradicts:
            self._anchor = Moment(date if moves else now.now, now.boot, now.boot_id, confirmed=True)
        return moves


@dataclass(frozen=True, slots=True)
class Meter:
    """How much of an outage has elapsed, in seconds; it never shrinks.

    `measured` was counted by BOOTTIME, in this process and the ones before it. `elapsed` is the
    larger of that and of now - start. Only a confirmed time may correct what an unconfirmed wall
    clock claimed, and never below what was measured.
    """

    start: float
    measured: float
    elapsed: float
    seen: Moment

    @classmethod
    def begin(cls, start: float, moment: Moment) -> "Meter":
        """The meter of an outage first seen now; `start` in seconds since 1970."""
        return cls(start, 0.0, max(0.0, moment.now - start), moment)

    def at(self, moment: Moment) -> "Meter":
        """The meter at a later moment, perhaps of another process or boot."""
        passed = self.seen.passed_until(moment.boot, moment.boot_id) or 0.0
        measured = self.measured + passed
        elapsed = max(measured, moment.now - self.start)
        if not moment.confirmed:
            elapsed = max(elapsed, self.elapsed + passed)
        return Meter(self.start, measured, elapsed, moment)

    def from_start(self, start: float, moment: Moment) -> "Meter":
        """The meter if the outage turns out to have started earlier, on another node."""
        return Meter(min(start, self.start), self.measured, self.elapsed, self.seen).at(moment)
