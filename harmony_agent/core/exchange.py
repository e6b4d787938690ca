"""Two files that trade places in one step: renameat2(2), which Python's os lacks."""

import ctypes
import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

__all__ = ["NO_EXCHANGE", "exchange"]

NO_EXCHANGE: Final = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}
)
"""Error numbers by which kernel, volume (NFS, SMB, some FUSE) or a container's filter of system
calls say that they can't do it."""

_HERE: Final = -100  # AT_FDCWD, linux/fcntl.h: relative paths count from the working directory
_EXCHANGE: Final = 2  # RENAME_EXCHANGE, linux/fs.h


def exchange(target: Path, other: Path) -> None:
    """Have two files trade names. Who watches their folder hears last that there is a new `target`,
    not that it is gone.

    Raises OSError: FileNotFoundError if one of them is gone, one of NO_EXCHANGE where that can't be
    done.
    """
    call = _renameat2()
    if call is None:
        number = errno.ENOSYS
    elif call(_HERE, os.fsencode(target), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return
    else:
        number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), str(target), None, str(other))


@functools.cache
def _renameat2() -> Callable[..., Any] | None:
    """The C library's function; None where it has none (glibc before 2.28, musl)."""
    found = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if found is not None:
        path = ctypes.c_char_p
        found.argtypes = (ctypes.c_int, path, ctypes.c_int, path, ctypes.c_uint)
    return found
