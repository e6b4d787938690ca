"""How far a long pass has come: told in the log now and then, and in /api/status."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["Progress"]

log = logging.getLogger(__name__)

_EVERY: Final = 5.0  # seconds between log lines
_MIB: Final = 1024 * 1024


class Progress:
    """Counts the files and bytes of one side's pass. Moments are seconds of one clock."""

    def __init__(
        self, side: str, *, beat: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`beat` is called whenever something was done."""
        self._side = side
        self._beat = beat
        self._clock = clock
        self.began()

    def began(self) -> None:
        """A pass begins."""
        self._files = self._bytes = 0
        self._all_files = self._all_bytes = 0
        self._is_under_way = False
        self._since = self._told = self._clock()

    def ahead(self, files: int, size: int) -> None:
        """So many files of `size` bytes together are left to be dealt with."""
        self._is_under_way = True
        self._all_files = self._files + files
        self._all_bytes = self._bytes + size

    def moved(self, size: int) -> None:
        """`size` more bytes were moved."""
        self._bytes += size
        self._went_on()

    def dealt_with(self, files: int = 1) -> None:
        """So many more files were dealt with."""
        self._files += files
        self._went_on()

    def ended(self) -> None:
        """The pass is over."""
        self._is_under_way = False

    def section(self) -> Mapping[str, Any]:
        """Files and bytes done and expected, and the speed; empty between passes."""
        if not self._is_under_way:
            return {}
        return {
            "files": self._files,
            "allFiles": self._all_files,
            "movedBytes": self._bytes,
            "allBytes": max(self._bytes, self._all_bytes),
            "bytesPerSecond": round(self._speed()),
        }

    def _speed(self) -> float:
        return self._bytes / max(self._clock() - self._since, 0.001)

    def _went_on(self) -> None:
        self._beat()
        now = self._clock()
        if now - self._told >= _EVERY:
            self._told = now
            log.info(
                "%s: %d of %d files, %.1f of %.1f MiB, %.1f MiB/s",
                self._side,
                self._files,
                self._all_files,
                self._bytes / _MIB,
                max(self._bytes, self._all_bytes) / _MIB,
                self._speed() / _MIB,
            )
