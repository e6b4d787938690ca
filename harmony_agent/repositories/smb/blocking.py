"""An SMB share by smbprotocol in threads: whole operations, of any size and on any server.

smbprotocol is used directly: fsspec's SMB class shares sessions between accounts, does not heal
after a restart of the server and reads exclusively.
"""

import asyncio
import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final, TypeVar

import smbclient
from smbprotocol.exceptions import SMBConnectionClosed, SMBException, SMBOSError
from smbprotocol.header import NtStatus

from harmony_agent.core.durable import is_temporary, temporary_name
from harmony_agent.core.errors import (
    AgentError,
    PreconditionFailed,
    Unavailable,
    Unsupported,
)
from harmony_agent.repositories.folders import (
    LOCK_FILE,
    LOCK_WAIT,
    FolderRepository,
    Opened,
    Scan,
    Staged,
    abandoned,
)
from harmony_agent.repositories.interface import Entry, Token
from harmony_agent.repositories.limits import CONNECT, CONTROL_LIMIT
from harmony_agent.repositories.names import check_smb, parents
from harmony_agent.repositories.smb.connection import SmbConnection
from harmony_agent.repositories.smb.errors import SESSION_GONE, is_missing, status_of, translate
from harmony_agent.repositories.smb.files import (
    Reading,
    Session,
    Writing,
    look,
    version,
)
from harmony_agent.repositories.smb.watch import SmbWatch
from harmony_agent.settings.model import SmbRepository

__all__ = ["IN_USE", "IN_USE_WAIT", "RETRY_PAUSE", "BlockingSmb"]

T = TypeVar("T")

RETRY_PAUSE: Final = 0.02
"""Seconds before something that is in use is tried again."""
IN_USE_WAIT: Final = 2.0
"""Seconds to wait for a file that others have open; they read it for moments only."""
IN_USE: Final = (NtStatus.STATUS_SHARING_VIOLATION, NtStatus.STATUS_ACCESS_DENIED)
"""How Windows refuses to replace or delete a file that somebody has open."""


class BlockingSmb(FolderRepository):
    """A folder of a share, with a connection of its own."""

    kind: ClassVar[str] = "smb"

    def __init__(self, settings: SmbRepository, folder: str) -> None:
        self._settings = settings
        self._root = "/".join(part for part in (settings.root / folder).parts if part != "/")
        self._share = rf"\\{settings.server}\{settings.share}"
        self._connection = SmbConnection(settings)
        self._watches: dict[str, SmbWatch] = {}
        super().__init__()

    @property
    def folds_case(self) -> bool:
        """See Repository."""
        return True

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

    def _below(self, path: str) -> str:
        """Where it is in the share."""
        return "\\".join(part for part in (self._root, path) if part).replace("/", "\\")

    def _unc(self, path: str) -> str:
        return f"{self._share}\\{self._below(path)}"

    async def _run(self, verb: str, path: str, limit: float, call: Callable[[], T]) -> T:
        self._connection.in_loop()
        return await super()._run(verb, path, limit, call)

    def _connect(self) -> None:
        smbclient.stat(self._share, **self._session())

    def _session(self) -> Session:
        return self._connection.arguments()

    def _given_up(self) -> None:
        self._connection.give_up()

    async def await_change(self, folder: str, limit: float) -> None:
        """See Repository."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                try:
                    await self._changed(folder)
                except AgentError:
                    await asyncio.sleep(limit)  # the server can't tell at the moment

    async def _changed(self, folder: str) -> None:
        watch = self._watches.setdefault(folder, SmbWatch())
        loop = asyncio.get_running_loop()

        def arm() -> asyncio.Event:
            return watch.arm(self._unc(folder), self._session(), loop)

        while True:
            told = await self._run("watch", folder, CONTROL_LIMIT, arm)
            await told.wait()
            if await self._run("watch", folder, CONTROL_LIMIT, watch.take):
                return

    async def close(self) -> None:
        """See Repository."""
        with contextlib.suppress(AgentError):
            await self._run("close", "", CONNECT, self._disconnect)
        await super().close()

    def _disconnect(self) -> None:
        for watch in self._watches.values():
            watch.close()
        self._connection.disconnect()

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
        session = self._session()
        found = self._stat_with(session, path)
        return found if found is not None and self._has_this_name(session, path) else None

    def _has_this_name(self, session: Session, path: str) -> bool:
        """Whether the file that the server finds as `path` is called so in this very case: else a
        file that was renamed from `A` to `a` would look as if `A` still were there as well."""
        folder, _, name = path.rpartition("/")
        try:
            with smbclient.scandir(self._unc(folder), search_pattern=name, **session) as entries:
                return any(entry.name == name for entry in entries)
        except SMBOSError as error:
            if is_missing(error):
                return False
            raise

    def _stat_with(self, session: Session, path: str) -> Entry | None:
        try:
            found = look(self._unc(path), session)
        except SMBOSError as error:
            if is_missing(error):
                return None
            raise
        return None if found.is_folder else Entry(path, found.size, found.token)

    def _open(self, path: str) -> Opened:
        return _OpenedFile(Reading(self._unc(path), self._session()))

    def _stage(self, path: str) -> Staged:
        folder, name = path.rpartition("/")[0], temporary_name()
        unc = self._unc(f"{folder}/{name}" if folder else name)
        return _StagedFile(self, path, Writing(unc, self._session()))

    def make_parent(self, path: str) -> None:
        """Make the folder of `path`."""
        self._make_folder(path.rpartition("/")[0])

    def put_new(self, path: str, writing: Writing) -> Token:
        """Rename a finished file where none must be."""
        # Samba looks whether the name is free and then renames: two at once would both win.
        with self._locked(writing.connection):
            try:
                return writing.rename_and_end(path.rpartition("/")[2])
            except SMBOSError as error:
                if error.errno == errno.EEXIST:
                    raise self._exists(path) from error
                raise

    def put_over(self, path: str, writing: Writing, token: Token) -> Token:
        """Rename a finished file over the version `token`."""
        with self._locked(writing.connection) as session:
            self._require(session, path, token)
            _while_in_use(lambda: writing.rename(path.rpartition("/")[2], over=True))
            return writing.end()

    def remove_draft(self, unc: str) -> None:
        """Remove a file that did not become one, over a new connection if its own is gone; never
        raises: what can't be removed now is swept later."""
        with contextlib.suppress(AgentError, SMBException, OSError, ValueError):
            smbclient.remove(unc, **self._session())

    def _require(self, session: Session, path: str, token: Token) -> None:
        present = self._stat_with(session, path)
        if present is None or present.token != token:
            raise self._is_another(path)

    def _exists(self, path: str) -> PreconditionFailed:
        return PreconditionFailed(f"{path!r} exists in {self.location}")

    def _is_another(self, path: str) -> PreconditionFailed:
        return PreconditionFailed(f"{path!r} is not that version in {self.location}")

    def _delete(self, path: str, token: Token) -> None:
        with self._locked() as session:
            if self._stat_with(session, path) is None:
                return
            self._require(session, path, token)
            _while_in_use(lambda: smbclient.remove(self._unc(path), **session))

    def _make_folder(self, path: str) -> None:
        session = self._session()
        whole = "/".join(part for part in (self._root, path) if part)
        for folder in parents(whole):
            unc = f"{self._share}\\{folder}".replace("/", "\\")
            try:
                smbclient.mkdir(unc, **session)
            except SMBOSError as error:
                if error.errno != errno.EEXIST:
                    raise
                # To take a file for the folder would be to try for ever.
                if not look(unc, session).is_folder:
                    raise SMBOSError(NtStatus.STATUS_NOT_A_DIRECTORY, unc) from None

    @contextlib.contextmanager
    def _locked(self, connection: Any = None) -> Iterator[Session]:
        """Hold the repository's lock; gives the arguments of calls over the connection that
        holds it, which has to be `connection` if that is given. Raises Unavailable if another
        node keeps it too long."""
        lock = self._lock()
        with lock:
            if connection not in (None, lock.fd.connection):
                raise SMBConnectionClosed("the connection that holds the new file is gone")
            yield self._connection.pinned(lock.fd.connection)

    def _lock(self) -> Any:
        session = self._session()
        give_up = time.monotonic() + LOCK_WAIT
        while True:
            try:
                return smbclient.open_file(
                    self._unc(LOCK_FILE), "ab", buffering=0, share_access=None, **session
                )
            except SMBOSError as error:
                has_folder = not is_missing(error)
                if has_folder and status_of(error) != NtStatus.STATUS_SHARING_VIOLATION:
                    raise
            # Not while handling that error: its status would seem to be that of what fails here.
            if not has_folder:
                self._make_folder(LOCK_FILE.rpartition("/")[0])
            elif time.monotonic() > give_up:
                raise self._is_locked()
            time.sleep(RETRY_PAUSE)

    def _is_locked(self) -> Unavailable:
        return Unavailable(
            f"another node holds the lock of {self.location} for more than {LOCK_WAIT:g} s"
        )


class _StagedFile(Staged):
    def __init__(self, connector: BlockingSmb, path: str, writing: Writing) -> None:
        self._connector = connector
        self._path = path
        self._writing = writing
        self._is_in_place = False

    def write(self, data: bytes) -> None:
        self._in_folder(lambda: self._writing.write(data))

    def publish(self, token: Token | None) -> Token:
        self._in_folder(self._writing.finish)
        if token is None:
            new = self._connector.put_new(self._path, self._writing)
        else:
            new = self._connector.put_over(self._path, self._writing, token)
        self._is_in_place = True
        return new

    def discard(self) -> None:
        if not self._is_in_place:
            self._connector.remove_draft(self._writing.abandon())

    def _in_folder(self, step: Callable[[], None]) -> None:
        try:
            step()
        except SMBOSError as error:
            if not is_missing(error):
                raise
        else:
            return
        self._connector.make_parent(self._path)  # outside for the same reason as in `_lock`
        step()


class _OpenedFile(Opened):
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.size, self.token = reading.size, reading.token

    def read(self, size: int) -> bytes:
        return self._reading.read(size)

    def is_unchanged(self) -> bool:
        return self._reading.end() == self.token

    def close(self) -> None:
        self._reading.close()


def _listed(info: Any) -> Token:
    """The token of an entry of smbclient's scandir."""
    return version(info.file_id, info.end_of_file, info.last_write_time, info.change_time)


def _while_in_use(change: Callable[[], T]) -> T:
    """Try again while somebody has the file open: Windows refuses to replace or delete it then."""
    give_up = time.monotonic() + IN_USE_WAIT
    while True:
        try:
            return change()
        except SMBOSError as error:
            if status_of(error) not in IN_USE or time.monotonic() > give_up:
                raise
            time.sleep(RETRY_PAUSE)
