"""What the errors of a mounted file system mean for the agent."""

import errno
import os
from typing import Final

from harmony_agent.core.errors import Absent, AgentError, Refused, Unavailable, Unsupported

__all__ = ["translate"]

_DENIED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_BAD_NAME: Final = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
_OTHER_KIND: Final = (errno.ENOTDIR, errno.EISDIR)


def translate(error: Exception, what: str) -> AgentError:
    """The agent's error for an OSError; `what` is the operation and the place."""
    code = error.errno if isinstance(error, OSError) else None
    reason = error.strerror if isinstance(error, OSError) else str(error)
    if code in _DENIED:
        who = f"user {os.geteuid()}, group {os.getegid()}"
        return Refused(f"{what}: {reason}; the folder must be writable for {who}")
    if code in _FULL:
        return Unavailable(f"{what}: {reason}; make room there")
    if code in _OTHER_KIND:
        return Unsupported(
            f"{what}: a file stands where a folder has to be, or a folder where a file has to be; "
            "rename it"
        )
    if code in _BAD_NAME:
        return Unsupported(f"{what}: {reason}")
    if isinstance(error, FileNotFoundError):
        return Absent(f"{what}: there is no such file")
    return Unavailable(f"{what}: {reason or error!r}")
