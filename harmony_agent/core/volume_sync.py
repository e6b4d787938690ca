"""Several new files brought to the disk together: by one call where that is sound.

A disk syncs a volume in hardly more time than one file. But syncfs(2) waits for what everybody
else wrote there too, network file systems need not pass it on to their server, and before Linux 5.8
it does not tell of errors. So it is used on local file systems, with a kernel that tells, for many
files of one volume; and where it takes long, every file is synced for itself for a while.
"""

import contextlib
import ctypes
import errno
import functools
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

__all__ = ["VolumeSync", "kind_of_volume"]

_MANY: Final = 16  # files; fewer are as fast one by one
_SLOW: Final = 1.0  # seconds for a whole volume: somebody else writes a lot there
_PAUSE: Final = 60.0  # seconds
_LOCAL: Final = frozenset({"ext4", "xfs"})
_TELLS_ERRORS: Final = (5, 8)  # Linux; syncfs(2), "Errors"
_MOUNTS: Final = Path("/proc/self/mountinfo")


class VolumeSync:
    """Syncs files, most of which lie on one volume. May be used by several threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds and never goes back."""
        self._clock = clock
        self._not_before = clock()
        self._is_sound: dict[int, bool] = {}  # by device: to sync the volume as a whole

    def sync(self, handles: Sequence[int]) -> list[OSError | None]:
        """Have these open files on the disk; in order, None or what hindered each."""
        if len(handles) >= _MANY and self._clock() >= self._not_before and self._are_one(handles):
            return [self._sync_volume(handles[0])] * len(handles)
        for handle in handles:
            # The kernel begins to write; there will be less to wait for.
            with contextlib.suppress(OSError):
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        return [_failure(os.fsync, handle) for handle in handles]

    def _are_one(self, handles: Sequence[int]) -> bool:
        """Whether all lie on one volume, which may be synced as a whole. Others can be mounted
        anywhere below a folder."""
        try:
            device, *others = {os.fstat(handle).st_dev for handle in handles}
        except OSError:
            return False
        if device not in self._is_sound:
            self._is_sound[device] = _is_sound(device)
        return not others and self._is_sound[device]

    def _sync_volume(self, handle: int) -> OSError | None:
        began = self._clock()
        failure = _failure(_syncfs, handle)
        if self._clock() - began > _SLOW:
            self._not_before = self._clock() + _PAUSE
        return failure


def kind_of_volume(mounts: str, device: int) -> str:
    """The file system's type by /proc/self/mountinfo (proc(5)); empty if it tells none."""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2:3] == [number]:
            return source.partition(" ")[0]
    return ""


def _is_sound(device: int) -> bool:
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if release is None or (int(release[1]), int(release[2])) < _TELLS_ERRORS:
        return False
    try:
        return kind_of_volume(_MOUNTS.read_text(), device) in _LOCAL
    except OSError:
        return False


def _failure(sync: Callable[[int], None], handle: int) -> OSError | None:
    try:
        sync(handle)
    except OSError as error:
        return error
    return None


def _syncfs(handle: int) -> None:
    """syncfs(2), which Python's os lacks; raises OSError."""
    if _libc().syncfs(handle):
        number = ctypes.get_errno()
        raise OSError(number or errno.EIO, os.strerror(number or errno.EIO))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
