"""Files that are whole or not there, also after a power cut."""

import contextlib
import os
import secrets
from pathlib import Path

__all__ = ["TEMPORARY_PREFIX", "is_temporary", "sync_directory", "write_durably"]

# Temporary files lie in the target's own directory, so that the rename never crosses devices.
TEMPORARY_PREFIX = ".harmony-agent-tmp-"


def is_temporary(name: str) -> bool:
    """Whether a file name (not a path) is one of the agent's own temporary files."""
    return name.startswith(TEMPORARY_PREFIX)


def sync_directory(directory: Path) -> None:
    """Make renames in `directory` survive a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(
    path: Path, data: bytes, *, mode: int = 0o600, exclusive: bool = False, durable: bool = True
) -> None:
    """Write `data` beside `path`, sync it, and put it in place in one step.

    With `exclusive` an existing `path` is left alone and FileExistsError is raised. Without
    `durable` the rename is still atomic for readers but may be lost with the machine.

    Raises OSError (disk full, read-only, no permission); nothing is left behind then.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)  # the mode asked for, whatever the umask
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if exclusive:
            os.link(temporary, path)  # fails if the target exists, unlike rename
            temporary.unlink()
        else:
            temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)
