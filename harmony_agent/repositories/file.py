"""A mounted folder as a repository: plain system calls, made safe for several nodes.

A file is written beside its target, synced and put in place in one step. Check and change are one
step by flock(2) on a lock file; creating needs no lock, since link(2) refuses an existing name.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

from harmony_agent.core.durable import TEMPORARY_PREFIX, is_temporary, sync_directory
from harmony_agent.core.errors import (
    Absent,
    AgentError,
    PreconditionFailed,
    Refused,
    Unavailable,
    Unsupported,
)
from harmony_agent.repositories.folders import (
    LOCK_FILE,
    LOCK_WAIT,
    FolderRepository,
    Scan,
    abandoned,
)
from harmony_agent.repositories.interface import Content, Entry, Token
from harmony_agent.repositories.names import check_path, parents
from harmony_agent.settings.model import FileRepository

__all__ = ["FileConnector"]

# Several nodes and Harmony itself write here, not always under one UID but in one group (fsGroup):
# the group may write as well, whatever this process' umask; others may not even read, since
# certificates and keys lie here.
_FILE_MODE: Final = 0o660
_FOLDER_MODE: Final = 0o770
_LOCK_POLL: Final = 0.01  # seconds
_READ_ATTEMPTS: Final = 5
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_DENIED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_BAD_NAME: Final = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR, errno.EISDIR)


def _token(found: os.stat_result) -> Token:
    return Token(f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}")


class FileConnector(FolderRepository):
    """`folder` below the mounted folder of `settings`; needs nothing else from `connect`."""

    kind: ClassVar[str] = "file"

    def __init__(self, settings: FileRepository, folder: str, **_: object) -> None:
        self._base = Path(settings.root)
        self._root = self._base / folder
        super().__init__()

    @property
    def location(self) -> str:
        """See Repository."""
        return str(self._root)

    def _check(self, path: str) -> None:
        check_path(path)
        if is_temporary(path.rpartition("/")[2]) or path == LOCK_FILE:
            raise Unsupported(f"{path!r} is a name of the agent's own temporary files")

    def _translate(self, error: Exception, what: str) -> AgentError:
        code = error.errno if isinstance(error, OSError) else None
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if code in _DENIED:
            who = f"user {os.geteuid()}, group {os.getegid()}"
            return Refused(f"{what}: {reason}; the folder must be writable for {who}")
        if code in _FULL:
            return Unavailable(f"{what}: {reason}; make room there")
        if code in _BAD_NAME:
            return Unsupported(f"{what}: {reason}")
        if isinstance(error, FileNotFoundError):
            return Absent(f"{what}: there is no such file")
        return Unavailable(f"{what}: {reason or error!r}")

    def _connect(self) -> None:
        self._require_base()

    def _require_base(self) -> None:
        """An unmounted volume must not look like an empty repository."""
        if not self._base.is_dir():
            raise Refused(f"{self._base} is not a folder; mount the repository's volume there")

    def _scan(self, folder: str) -> Scan:
        files: list[Entry] = []
        folders: list[str] = []
        try:
            entries = os.scandir(self._root / folder)
        except FileNotFoundError:
            self._require_base()
            return files, folders
        with entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # deleted meanwhile
                if is_temporary(entry.name):
                    if abandoned(found.st_mtime):
                        Path(entry.path).unlink(missing_ok=True)
                elif stat.S_ISREG(found.st_mode):
                    files.append(Entry(path, found.st_size, _token(found)))
        return files, folders

    def _stat(self, path: str) -> Entry | None:
        try:
            found = (self._root / path).lstat()
        except FileNotFoundError:
            self._require_base()
            return None
        return Entry(path, found.st_size, _token(found)) if stat.S_ISREG(found.st_mode) else None

    def _read(self, path: str) -> Content:
        self._require_base()
        for _ in range(_READ_ATTEMPTS):
            with (self._root / path).open("rb") as file:
                before = _token(os.fstat(file.fileno()))
                data = file.read()
                if _token(os.fstat(file.fileno())) == before:
                    return Content(data, before)
        raise Unavailable(f"{path!r} in {self.location} is being written; it is read later")

    def _create(self, path: str, data: bytes) -> Token:
        target = self._root / path
        with self._written_beside(target, data) as (temporary, handle):
            try:
                os.link(temporary, target)
            except FileExistsError as error:
                raise PreconditionFailed(f"{path!r} exists in {self.location}") from error
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._create_without_links(path, temporary)
            temporary.unlink(missing_ok=True)  # before the token is taken: it changes the ctime
            return _token(os.fstat(handle))

    def _create_without_links(self, path: str, temporary: Path) -> None:
        """Some network file systems (Azure Files over SMB) have no hard links."""
        with self._locked():
            if self._stat(path):
                raise PreconditionFailed(f"{path!r} exists in {self.location}")
            temporary.rename(self._root / path)

    def _replace(self, path: str, data: bytes, token: Token) -> Token:
        target = self._root / path
        with self._written_beside(target, data) as (temporary, handle), self._locked():
            present = self._stat(path)
            if present is None or present.token != token:
                raise PreconditionFailed(f"{path!r} in {self.location} is not that version")
            temporary.rename(target)
            return _token(os.fstat(handle))

    def _delete(self, path: str, token: Token) -> None:
        with self._locked():
            present = self._stat(path)
            if present is None:
                return
            if present.token != token:
                raise PreconditionFailed(f"{path!r} in {self.location} is not that version")
            target = self._root / path
            target.unlink()
            sync_directory(target.parent)

    def _make_folder(self, path: str) -> None:
        self._require_base()
        relative = (self._root / path).relative_to(self._base)
        for name in parents(str(relative)):
            folder = self._base / name
            with contextlib.suppress(FileExistsError):
                folder.mkdir(_FOLDER_MODE)
                # Keeps set-group-id, by which new files get the volume's group.
                folder.chmod(_FOLDER_MODE | (folder.stat().st_mode & stat.S_ISGID))
                sync_directory(folder.parent)

    @contextlib.contextmanager
    def _written_beside(self, target: Path, data: bytes) -> Iterator[tuple[Path, int]]:
        """A synced temporary file with `data` in the target's folder, and its open handle.

        The handle gives the token of exactly this file, also if somebody replaces it at once.
        """
        temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            handle = os.open(temporary, flags, _FILE_MODE)
        except FileNotFoundError:
            self._make_folder(str(target.parent.relative_to(self._root)))
            handle = os.open(temporary, flags, _FILE_MODE)
        try:
            os.fchmod(handle, _FILE_MODE)
            with os.fdopen(handle, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(handle)
            yield temporary, handle
            sync_directory(target.parent)
        finally:
            os.close(handle)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the repository's lock; raises Unavailable if another node keeps it too long."""
        lock = self._root / LOCK_FILE
        flags = os.O_RDWR | os.O_CREAT
        try:
            handle = os.open(lock, flags, _FILE_MODE)
        except FileNotFoundError:
            self._make_folder(str(Path(LOCK_FILE).parent))
            handle = os.open(lock, flags, _FILE_MODE)
        try:
            with contextlib.suppress(PermissionError):  # another user made it, with this mode
                os.fchmod(handle, _FILE_MODE)
            self._lock(handle)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int) -> None:
        give_up = time.monotonic() + LOCK_WAIT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise Unavailable(
                        f"another node holds the lock of {self.location} for more than "
                        f"{LOCK_WAIT:g} s"
                    ) from None
                time.sleep(_LOCK_POLL)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                raise Refused(
                    f"the file system of {self.location} offers no locks (flock): mount it with "
                    "locking, such as NFS 4 or SMB"
                ) from error
            else:
                return
