"""For how long a node has been away, without a clock that anybody could set. Pure.

Change markers carry the number of a day. A node that has known the newest number for a day, by a
clock that never jumps, begins the next one; every node that is there follows, in its own marker. So
a number begins at least a day after the one before it, and whose marker is more than thirty numbers
behind has been away for thirty days at least. Days are counted only while some node runs for a day
without a restart.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

__all__ = ["Days", "abandoned"]

_DAY: Final = 86_400.0  # seconds
_KEPT: Final = 30  # days


class Days:
    """Which day it is, as far as is known."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is in seconds and never goes back."""
        self._clock = clock
        self._known_since = clock()
        self.today = 0

    def saw(self, days: Iterable[int]) -> None:
        """All markers there are now carry these."""
        now = self._clock()
        newest = max(days, default=0)
        if newest > self.today:
            self.today, self._known_since = newest, now
        elif now - self._known_since >= _DAY:
            self.today, self._known_since = self.today + 1, now


def abandoned(today: int, days: Mapping[str, int]) -> list[str]:
    """The markers whose nodes have been away for thirty days, of markers with these `days`."""
    return [path for path, day in days.items() if day < today - _KEPT]
