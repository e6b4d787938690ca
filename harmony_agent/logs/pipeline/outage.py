"""Whether the log system counts as down, so that what is undelivered is parked. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Look", "followed", "is_down"]

# Seconds without any delivery, or those over which the pace of delivery is measured.
_OUTAGE: Final = 30.0
# Seconds in which all that waits should be delivered at that pace. A log system that takes an event
# now and then is as good as down; one that works off what an outage left is not.
_LONGEST_WAIT: Final = 300.0


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen `at` a moment (seconds of any clock that only runs forward): how many events
    were `delivered` in all, and how many were `waiting`, as far as that can be estimated."""

    at: float
    delivered: int
    waiting: int


def followed(looks: Sequence[Look], look: Look) -> tuple[Look, ...]:
    """`looks`, oldest first, with `look` after them: as many as the pace is measured by, none from
    before a moment when nothing waited."""
    if not look.waiting:
        return ()
    enough = [place for place, one in enumerate(looks) if look.at - one.at >= _OUTAGE]
    return (*looks[enough[-1] if enough else 0 :], look)


def is_down(stalled: float, looks: Sequence[Look]) -> bool:
    """Whether events wait without any delivery for too long (`stalled`, in seconds), or would wait
    for too long at the pace of `looks`."""
    if stalled >= _OUTAGE:
        return True
    if not looks or looks[-1].at - looks[0].at < _OUTAGE:
        return False
    first, last = looks[0], looks[-1]
    pace = (last.delivered - first.delivered) / (last.at - first.at)
    return last.waiting > pace * _LONGEST_WAIT
