"""How many files this process may have open."""

import contextlib
import resource
from typing import Final

__all__ = ["allow_many_files"]

# Two convoys of 256 files, each in a folder of its own, on both sides, and all else.
_ENOUGH: Final = 4096


def allow_many_files() -> None:
    """Raise the soft limit to what many files at once take, as far as the hard one allows; where
    it can't be raised they are tried again, a few at a time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(_ENOUGH, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
