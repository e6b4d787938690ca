"""The lock of a repository in a mounted folder: flock(2) on a file of its own."""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harmony_agent.core.errors import Refused, Unavailable

__all__ = ["locked"]

_POLL: Final = 0.01  # seconds
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def locked(lock: Path, mode: int, wait: float) -> Iterator[None]:
    """Hold `lock`, a file that is made with `mode` if need be (FileNotFoundError without its
    folder); raises Unavailable if another node keeps it longer than `wait` seconds, and Refused
    if the file system has no locks."""
    give_up = time.monotonic() + wait
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, mode)
        try:
            with contextlib.suppress(PermissionError):  # another user made it, with this mode
                os.fchmod(handle, mode)
            _acquire(handle, lock, give_up, wait)
            if not _is(handle, lock):  # deleted meanwhile: whoever comes now locks another
                continue
            yield
            return
        finally:
            os.close(handle)


def _is(handle: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), lock.stat())
    except FileNotFoundError:
        return False


def _acquire(handle: int, lock: Path, give_up: float, wait: float) -> None:
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise Unavailable(
                    f"another node holds the lock {lock} for more than {wait:g} s"
                ) from None
            time.sleep(_POLL)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise Refused(
                f"the file system of {lock} offers no locks (flock): mount it with locking, such "
                "as NFS 4 or SMB"
            ) from error
