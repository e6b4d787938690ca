"""What the sync does to files of Harmony's home. Blocking: runs in worker threads.

Every change is made only if the file still is what the decision was made for, checked at the last
moment; whatever is replaced or removed was copied to the state directory first.
"""

import contextlib
import errno
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from harmony_agent.core.durable import (
    TEMPORARY_PREFIX,
    sync_directory,
    write_durably,
)
from harmony_agent.core.errors import (
    Absent,
    AgentError,
    PreconditionFailed,
    Refused,
    Unavailable,
    Unsupported,
)
from harmony_agent.sync.states import LocalFile, digest

__all__ = ["HomeFiles", "local_errors"]

log = logging.getLogger(__name__)

_PRIVATE: Final = ("certs/", "data/")  # keys and certificates
_PRIVATE_MODE: Final = 0o600
_FILE_MODE: Final = 0o640
_FOLDER_MODE: Final = 0o750
_RESIDUE_AGE: Final = 3600.0  # seconds


@contextlib.contextmanager
def local_errors(path: Path) -> Iterator[None]:
    """The one seam for errors of the local file system: OSError becomes an AgentError."""
    try:
        yield
    except OSError as error:
        raise _translate(error, path) from error


def _translate(error: OSError, path: Path) -> AgentError:
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


class HomeFiles:
    """Reads and changes files below `home`; paths are relative, with slashes.

    All methods raise the errors of `local_errors`; PreconditionFailed (or Absent) means that the
    file is no longer what the caller believes.
    """

    def __init__(self, home: Path, kept: Path) -> None:
        """`kept` is the folder of the state directory that takes what is replaced or removed."""
        self.home = home
        self._kept = kept

    def read(self, path: str, expected: LocalFile) -> bytes:
        """The content of `expected`; raises PreconditionFailed if the file is another by now."""
        target = self.home / path
        with local_errors(target):
            data = target.read_bytes()
        if digest(data) != expected.sha256:
            raise PreconditionFailed(f"{target} has changed")
        return data

    def is_absent(self, path: str) -> bool:
        """Whether nothing at all stands at `path`."""
        target = self.home / path
        with local_errors(target):
            try:
                target.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return True
        return False

    def create(self, path: str, data: bytes) -> LocalFile:
        """Put a file where none is."""
        target = self.home / path
        with local_errors(target):
            self._make_parent(target)
            return _put(target, data, _mode_of(path), None)

    def exchange(self, path: str, data: bytes, expected: LocalFile) -> LocalFile:
        """Replace the version `expected`, which is kept."""
        target = self.home / path
        self._keep(path, self.read(path, expected))
        with local_errors(target):
            return _put(target, data, _mode_of(path), expected)

    def withdraw(self, path: str, expected: LocalFile) -> None:
        """Remove the version `expected`, which is kept."""
        target = self.home / path
        self._keep(path, self.read(path, expected))
        with local_errors(target):
            _require(target, expected)
            target.unlink()
            sync_directory(target.parent)

    def sweep(self, residue: Iterable[str], *, younger_too: bool) -> int:
        """Remove temporary files that a killed agent left; how many were removed.

        Without `younger_too` only those older than an hour: younger ones may be in use.
        """
        removed = 0
        latest = time.time() - (0 if younger_too else _RESIDUE_AGE)
        for path in residue:
            with contextlib.suppress(OSError):  # gone, or next time
                target = self.home / path
                if target.lstat().st_mtime <= latest:
                    target.unlink()
                    removed += 1
        if removed:
            log.info(
                "removed temporary files of an agent that was killed", extra={"files": removed}
            )
        return removed

    def _make_parent(self, target: Path) -> None:
        missing = []
        folder = target.parent
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for made in reversed(missing):
            made.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            sync_directory(made.parent)

    def _keep(self, path: str, data: bytes) -> None:
        """Copy to the kept folder: home and state directory may lie on different volumes."""
        target = self._kept / path
        with local_errors(target):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if target.exists() and target.read_bytes() != data:
                target = target.with_name(f"{target.name}.{digest(data)[:8]}")
            if not target.exists():
                write_durably(target, data, mode=_PRIVATE_MODE)


def _put(target: Path, data: bytes, mode: int, expected: LocalFile | None) -> LocalFile:
    """Write beside, sync, make sure that `expected` (None: nothing) stands there, put in place."""
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)  # the mode asked for, whatever the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            status = os.fstat(file.fileno())
        if expected is None:
            _put_new(temporary, target)
        else:
            _require(target, expected)
            temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)
    return LocalFile(digest(data), status.st_size, status.st_mtime_ns, status.st_ino)


def _put_new(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)  # fails if the target exists, unlike rename
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise
        # A volume without hard links (SMB, some FUSE): the check just before has to do.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        temporary.replace(target)
    else:
        temporary.unlink()


def _require(target: Path, expected: LocalFile) -> None:
    status = target.lstat()
    present = (status.st_size, status.st_mtime_ns, status.st_ino)
    if present != (expected.size, expected.mtime_ns, expected.inode) or not stat.S_ISREG(
        status.st_mode
    ):
        raise PreconditionFailed(f"{target} has changed")


def _mode_of(path: str) -> int:
    return _PRIVATE_MODE if path.startswith(_PRIVATE) else _FILE_MODE
