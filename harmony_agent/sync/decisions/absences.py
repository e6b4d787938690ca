"""When a file is gone from the repository for certain. Pure.

One listing is no proof: some are short, and a store that lost its disk comes back empty. What a
peer says it deleted is believed once a look confirms it; anything else once two complete listings
at least half a minute apart agree.
"""

from collections.abc import Collection, Iterable
from typing import Final

__all__ = ["Absences"]

_APART: Final = 30.0  # seconds


class Absences:
    """Files that the repository should hold and does not. Moments are seconds of one clock."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._certain: set[str] = set()

    def listed(self, missing: Collection[str], began: float) -> None:
        """A complete listing that began at `began` lacks exactly `missing`."""
        self._since = {path: self._since.get(path, began) for path in missing}
        self._certain &= self._since.keys()
        self._certain |= {path for path, first in self._since.items() if began - first >= _APART}

    def confirmed(self, path: str, now: float) -> None:
        """A peer says that it deleted `path`, and a look shows that it is gone."""
        self._since.setdefault(path, now)
        self._certain.add(path)

    def found(self, path: str) -> None:
        """`path` is there, or nobody expects it any more."""
        self._since.pop(path, None)
        self._certain.discard(path)

    def waits(self, missing: Iterable[str], now: float) -> dict[str, float]:
        """Which of `missing` are not certain, with the seconds until a listing may show it."""
        return {
            path: max(0.0, self._since.setdefault(path, now) + _APART - now)
            for path in missing
            if path not in self._certain
        }
