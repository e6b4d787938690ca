"""Errors of Harmony's home, told as the agent's own: the one seam for them."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    PreconditionFailed,
    Refused,
    Unavailable,
    Unsupported,
)

__all__ = ["local_errors", "translated"]


@contextlib.contextmanager
def local_errors(path: Path) -> Iterator[None]:
    """OSError becomes an AgentError."""
    try:
        yield
    except OSError as error:
        raise translated(error, path) from error


def translated(error: OSError, path: Path) -> AgentError:
    """What an error at `path` means to the agent."""
    reason = error.strerror or type(error).__name__
    match error.errno:
        case errno.ENOENT:
            return Absent(f"{path} is gone")
        case errno.EEXIST:
            return PreconditionFailed(f"{path} exists already")
        case errno.ENOSPC | errno.EDQUOT:
            return Unavailable(f"no space to write {path}: {reason}; make room on that volume")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Refused(
                f"{path}: {reason}; give user {os.geteuid()}, group {os.getegid()} access to it"
            )
        case errno.ENAMETOOLONG | errno.ENOTDIR | errno.EISDIR | errno.EINVAL | errno.ELOOP:
            return Unsupported(f"{path} can't be held by this volume: {reason}")
    return Unavailable(f"{path}: {reason}")
