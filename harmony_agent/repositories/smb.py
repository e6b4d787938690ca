"""An SMB 3 share, by smbprotocol in threads.

Used directly: fsspec's SMB class shares sessions between accounts, does not heal after a restart of
the server and reads exclusively. Files are written beside their target and renamed by the server.
Check and change are one step by a lock file that is held open exclusively; the server frees it when
the connection ends.
"""

import contextlib
import errno
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, TypeVar

import smbclient
from smbprotocol.exceptions import SMBException, SMBOSError
from smbprotocol.header import NtStatus

from harmony_agent.core.durable import TEMPORARY_PREFIX, is_temporary
from harmony_agent.core.errors import AgentError, PreconditionFailed, Unavailable, Unsupported
from harmony_agent.repositories.folders import (
    LOCK_FILE,
    LOCK_WAIT,
    FolderRepository,
    Scan,
    abandoned,
)
from harmony_agent.repositories.interface import Content, Entry, Token
from harmony_agent.repositories.limits import CONNECT
from harmony_agent.repositories.names import check_smb, parents
from harmony_agent.repositories.smb_connection import SmbConnection
from harmony_agent.repositories.smb_errors import SESSION_GONE, is_missing, status_of, translate
from harmony_agent.settings.model import SmbRepository

__all__ = ["SmbConnector"]

T = TypeVar("T")

_RETRY_PAUSE: Final = 0.02  # seconds
_IN_USE_WAIT: Final = 2.0  # seconds; others read a file for moments only
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_READ_ATTEMPTS: Final = 5
_IN_USE: Final = (NtStatus.STATUS_SHARING_VIOLATION, NtStatus.STATUS_ACCESS_DENIED)
_SHARED: Final = "rwd"  # let others read, write and replace the file meanwhile


class SmbConnector(FolderRepository):
    """A folder of a share, with a connection of its own; needs nothing else from `connect`."""

    kind: ClassVar[str] = "smb"

    def __init__(self, settings: SmbRepository, folder: str, **_: object) -> None:
        self._settings = settings
        self._root = "/".join(part for part in (settings.root / folder).parts if part != "/")
        self._share = rf"\\{settings.server}\{settings.share}"
        self._connection = SmbConnection(settings)
        super().__init__()

    @property
    def location(self) -> str:
        """See Repository."""
        return f"//{self._settings.server}/{self._settings.share}/{self._root}"

    def _check(self, path: str) -> None:
        check_smb(path)
        if is_temporary(path.rpartition("/")[2]) or path == LOCK_FILE:
            raise Unsupported(f"{path!r} is a name of the agent's own temporary files")

    def _translate(self, error: Exception, what: str) -> AgentError:
        if status_of(error) in SESSION_GONE:
            self._given_up()
        server = f"{self._settings.server}:{self._settings.port}"
        return translate(error, what, server=server, share=self._settings.share)

    def _unc(self, path: str) -> str:
        below = "/".join(part for part in (self._root, path) if part)
        return f"{self._share}\\{below}".replace("/", "\\")

    def _connect(self) -> None:
        smbclient.stat(self._share, **self._session())

    def _session(self) -> dict[str, Any]:
        return self._connection.arguments()

    def _given_up(self) -> None:
        self._connection.give_up()

    async def close(self) -> None:
        """See Repository."""
        with contextlib.suppress(AgentError):
            await self._run("close", "", CONNECT, self._connection.disconnect)
        await super().close()

    def _scan(self, folder: str) -> Scan:
        files: list[Entry] = []
        folders: list[str] = []
        try:
            with smbclient.scandir(self._unc(folder), **self._session()) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    info = entry.smb_info
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif is_temporary(entry.name):
                        self._sweep(path)
                    elif not entry.is_symlink():
                        files.append(Entry(path, info.end_of_file, _listed(info)))
        except SMBOSError as error:
            if not is_missing(error):
                raise
        return files, folders

    def _sweep(self, path: str) -> None:
        """Remove a temporary file whose writer died."""
        with contextlib.suppress(SMBOSError):
            if abandoned(smbclient.stat(self._unc(path), **self._session()).st_mtime):
                smbclient.remove(self._unc(path), **self._session())

    def _stat(self, path: str) -> Entry | None:
        return self._stat_with(self._session(), path)

    def _stat_with(self, session: dict[str, Any], path: str) -> Entry | None:
        try:
            found = smbclient.stat(self._unc(path), **session)
        except SMBOSError as error:
            if is_missing(error):
                return None
            raise
        return None if found.st_mode & 0o040000 else Entry(path, found.st_size, _token(found))

    def _read(self, path: str) -> Content:
        for _ in range(_READ_ATTEMPTS):
            session = self._session()
            before = smbclient.stat(self._unc(path), **session)
            with smbclient.open_file(
                self._unc(path), "rb", share_access=_SHARED, **session
            ) as file:
                data = file.read()
            after = smbclient.stat(self._unc(path), **session)
            if _token(before) == _token(after):
                return Content(data, _token(after))
        raise Unavailable(f"{path!r} in {self.location} is being written; it is read later")

    def _create(self, path: str, data: bytes) -> Token:
        session = self._session()
        with self._written_beside(session, path, data) as temporary:
            written = smbclient.stat(temporary, **session)
            try:
                smbclient.rename(temporary, self._unc(path), **session)
            except SMBOSError as error:
                if error.errno == errno.EEXIST:
                    raise PreconditionFailed(f"{path!r} exists in {self.location}") from error
                raise
            return self._token_of(session, path, written)

    def _replace(self, path: str, data: bytes, token: Token) -> Token:
        with (
            self._written_beside(self._session(), path, data) as temporary,
            self._locked() as session,
        ):
            present = self._stat_with(session, path)
            if present is None or present.token != token:
                raise PreconditionFailed(f"{path!r} in {self.location} is not that version")
            written = smbclient.stat(temporary, **session)
            _while_in_use(lambda: smbclient.replace(temporary, self._unc(path), **session))
            return self._token_of(session, path, written)

    def _delete(self, path: str, token: Token) -> None:
        with self._locked() as session:
            present = self._stat_with(session, path)
            if present is None:
                return
            if present.token != token:
                raise PreconditionFailed(f"{path!r} in {self.location} is not that version")
            _while_in_use(lambda: smbclient.remove(self._unc(path), **session))

    def _make_folder(self, path: str) -> None:
        session = self._session()
        whole = "/".join(part for part in (self._root, path) if part)
        for folder in parents(whole):
            try:
                smbclient.mkdir(f"{self._share}\\{folder}".replace("/", "\\"), **session)
            except SMBOSError as error:
                if error.errno != errno.EEXIST:
                    raise

    def _token_of(self, session: dict[str, Any], path: str, written: Any) -> Token:
        """The token of the file we have just put in place. If somebody replaced it already, a
        token that no version has: ours is not the present one."""
        found = smbclient.stat(self._unc(path), **session)
        if found.st_ino != written.st_ino:
            return Token(f"replaced-{secrets.token_hex(6)}")
        return _token(found)

    @contextlib.contextmanager
    def _written_beside(self, session: dict[str, Any], path: str, data: bytes) -> Iterator[str]:
        """A flushed temporary file with `data` in the target's folder; removed if it is left."""
        folder = path.rpartition("/")[0]
        name = f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}"
        temporary = self._unc(f"{folder}/{name}" if folder else name)
        try:
            self._write(session, temporary, data)
        except SMBOSError as error:
            if not is_missing(error):
                raise
            self._make_folder(folder)
            self._write(session, temporary, data)
        try:
            yield temporary
        finally:
            with contextlib.suppress(SMBException, OSError):
                smbclient.remove(temporary, **session)

    @staticmethod
    def _write(session: dict[str, Any], temporary: str, data: bytes) -> None:
        with smbclient.open_file(temporary, "xb", share_access=_SHARED, **session) as file:
            file.write(data)
            file.flush()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[dict[str, Any]]:
        """Hold the repository's lock; gives the arguments of calls over the connection that
        holds it. Raises Unavailable if another node keeps it too long."""
        session = self._session()
        give_up = time.monotonic() + LOCK_WAIT
        while True:
            try:
                lock = smbclient.open_file(
                    self._unc(LOCK_FILE), "ab", buffering=0, share_access=None, **session
                )
                break
            except SMBOSError as error:
                if is_missing(error):
                    self._make_folder(LOCK_FILE.rpartition("/")[0])
                elif status_of(error) != NtStatus.STATUS_SHARING_VIOLATION:
                    raise
                elif time.monotonic() > give_up:
                    raise Unavailable(
                        f"another node holds the lock of {self.location} for more than "
                        f"{LOCK_WAIT:g} s"
                    ) from None
                time.sleep(_RETRY_PAUSE)
        with lock:
            yield self._connection.pinned(lock.fd.connection)


def _token(found: Any) -> Token:
    """Of smbclient's stat. Microseconds: its listings know no finer times."""
    return Token(
        f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns // 1000}-{found.st_chgtime_ns // 1000}"
    )


def _listed(info: Any) -> Token:
    """The same of an entry of smbclient's scandir."""
    written, changed = map(_microseconds, (info.last_write_time, info.change_time))
    return Token(f"{info.file_id}-{info.end_of_file}-{written}-{changed}")


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _while_in_use(change: Callable[[], T]) -> T:
    """Try again while somebody has the file open: Windows refuses to replace or delete it then."""
    give_up = time.monotonic() + _IN_USE_WAIT
    while True:
        try:
            return change()
        except SMBOSError as error:
            if status_of(error) not in _IN_USE or time.monotonic() > give_up:
                raise
            time.sleep(_RETRY_PAUSE)
