"""Files that are whole or not there, also after a power cut."""

import contextlib
import errno
import os
import secrets
from io import FileIO
from pathlib import Path
from typing import Final

from harmony_agent.core.exchange import exchange

__all__ = [
    "NO_LINKS",
    "TEMPORARY_PREFIX",
    "Draft",
    "is_temporary",
    "sweep",
    "sync_directory",
    "temporary_name",
    "write_durably",
]

# Temporary files lie in the target's own directory, so that the rename never crosses devices.
TEMPORARY_PREFIX = ".harmony-agent-tmp-"

NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
)
"""Error numbers by which a volume says that it has no hard links (SMB, some FUSE)."""

# A large file is synced as it grows: one sync at the end could take minutes without a sign of life.
_SYNC_EVERY: Final = 64 * 1024 * 1024  # bytes


def is_temporary(name: str) -> bool:
    """Whether a file name (not a path) is one of the agent's own temporary files."""
    return name.startswith(TEMPORARY_PREFIX)


def temporary_name() -> str:
    """A file name that no other file has, and that `is_temporary`."""
    return f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}"


def sync_directory(directory: Path) -> None:
    """Make renames in `directory` survive a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(directory: Path) -> int:
    """Remove temporary files directly in `directory` that nobody writes any more; how many.

    For a directory that is ours alone, after the end of whoever was killed. What can't be removed
    stays; never raises.
    """
    removed = 0
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if is_temporary(entry.name):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()
                    removed += 1
    return removed


class Draft:
    """A temporary file beside `target`, which takes its place once it is whole and on the disk.

    All methods raise OSError (disk full, read-only, no permission). Whoever makes a draft has to
    `discard` it in the end.
    """

    def __init__(self, target: Path, *, mode: int) -> None:
        self.target = target
        self._temporary: Path | None = target.with_name(temporary_name())
        handle = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        # Not the bare handle: its number is another file's once a thread that was given up is late.
        self._file = FileIO(handle, "wb")
        self._written: os.stat_result | None = None
        self._unsynced = 0
        try:
            os.fchmod(handle, mode)  # the mode asked for, whatever the umask
        except BaseException:
            self.discard()
            raise

    @property
    def written(self) -> os.stat_result:
        """What was written, as it lay there just before it became `target`: under that name
        somebody else may write into it at once."""
        return self._written or os.fstat(self.fileno())

    @property
    def ctime_ns(self) -> int:
        """The time of exactly this file's last change, in nanoseconds; getting its name is one."""
        return os.fstat(self.fileno()).st_ctime_ns

    def fileno(self) -> int:
        """The open file's handle; raises ValueError once it is closed."""
        return self._file.fileno()

    def write(self, data: bytes) -> None:
        """Append."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Return once all that was written is on the disk."""
        os.fsync(self.fileno())
        self._unsynced = 0

    def put_new(self) -> None:
        """Become `target`, which must not exist (FileExistsError); to be on the disk its directory
        has to be synced. On a volume without hard links raises one of NO_LINKS."""
        assert self._temporary is not None, "it has its name already"
        self._written = self.written
        os.link(self._temporary, self.target)  # fails if the target exists, unlike rename
        self._temporary.unlink()
        self._temporary = None

    def put_over(self) -> None:
        """Become `target`, whatever stands there; then as `put_new`."""
        assert self._temporary is not None, "it has its name already"
        self._written = self.written
        self._temporary.rename(self.target)
        self._temporary = None

    def put_in_exchange(self, old: Path) -> None:
        """Become `target`, which must exist and has the free name `old` from then on, in one step;
        then as `put_new`. Where that can't be done raises one of NO_EXCHANGE."""
        assert self._temporary is not None, "it has its name already"
        self._written = self.written
        temporary, self._temporary = self._temporary, old
        temporary.rename(old)
        try:
            exchange(self.target, old)
        except OSError:
            old.rename(temporary)
            self._temporary = temporary
            raise
        self._temporary = None

    def discard(self) -> None:
        """Close it, and remove it unless it became `target`; never raises, can be repeated."""
        with contextlib.suppress(OSError):
            self._file.close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
            self._temporary = None


def write_durably(
    path: Path, data: bytes, *, mode: int = 0o600, exclusive: bool = False, durable: bool = True
) -> None:
    """Write `data` beside `path`, sync it, and put it in place in one step.

    With `exclusive` an existing `path` is left alone and FileExistsError is raised. Without
    `durable` the rename is still atomic for readers but may be lost with the machine.

    Raises OSError (disk full, read-only, no permission); nothing is left behind then.
    """
    draft = Draft(path, mode=mode)
    try:
        draft.write(data)
        if durable:
            draft.sync()
        if exclusive:
            draft.put_new()
        else:
            draft.put_over()
    finally:
        draft.discard()
    if durable:
        sync_directory(path.parent)
