"""Whether a file has come to rest: Harmony may be in the middle of writing it."""

import os
import time
from collections.abc import Callable, Container
from typing import Final, NamedTuple

from harmony_agent.sync.decisions.states import BaseRow, LocalFile

__all__ = ["Settling", "Stat"]

# Files not touched for this long need no second look; a wall clock that steps by less does no harm.
_AT_REST: Final = 60.0  # seconds
# A file that never rests is taken as it is, if it stays the same while it is read.
_PATIENCE: Final = 5.0  # seconds


class Stat(NamedTuple):
    """What tells one state of a file from another."""

    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stat":
        """From what the kernel answers."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)

    def matches(self, known: BaseRow | LocalFile) -> bool:
        """Whether the file is unchanged since `known` was recorded."""
        return (self.size, self.mtime_ns, self.inode) == (known.size, known.mtime_ns, known.inode)


class Settling:
    """Remembers when files were first seen in their present state.

    A file has settled once two looks at least `settle` seconds apart found it the same.
    """

    def __init__(
        self,
        settle: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settle = settle
        self._clock = clock
        self._wall = wall
        self._seen: dict[str, tuple[Stat, float, float]] = {}  # stat, seen so since, restless since

    def is_settled(self, path: str, status: Stat) -> bool:
        """Whether `path`, which looks like `status` now, may be read."""
        now = self._clock()
        if self._wall() - status.ctime_ns / 1e9 > _AT_REST:
            return True
        known, since, restless = self._seen.get(path, (None, now, now))
        if known != status:
            since = now
        self._seen[path] = (status, since, restless)
        return now - since >= self._settle or now - restless >= max(_PATIENCE, self._settle)

    def forget(self, path: str) -> None:
        """`path` was read, or is as the base knows it."""
        self._seen.pop(path, None)

    def retain(self, paths: Container[str]) -> None:
        """Forget all files but these: the others are gone."""
        self._seen = {path: seen for path, seen in self._seen.items() if path in paths}
