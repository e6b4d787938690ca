"""An SMB 3 share.

Files are written beside their target and renamed by the server. Check and change are one step by a
lock file that is held open exclusively; the server frees it when the connection ends.

What is small goes from asyncio's loop in a packet or two (smb/small.py); what is large, and shares
that need more (DFS, symbolic links), by smbprotocol in threads (smb/blocking.py). Both go over the
same connection.
"""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from smbprotocol.exceptions import SMBOSError
from smbprotocol.header import NtStatus

from harmony_agent.core.durable import is_temporary, temporary_name
from harmony_agent.core.errors import AgentError, OutcomeUnknown, Unavailable
from harmony_agent.repositories.folders import LOCK_FILE, LOCK_WAIT, Scan, abandoned
from harmony_agent.repositories.interface import Content, Entry, Token
from harmony_agent.repositories.limits import CONNECT, CONTROL_LIMIT, DATA_LIMIT, data_limit
from harmony_agent.repositories.smb.blocking import IN_USE, IN_USE_WAIT, RETRY_PAUSE, BlockingSmb
from harmony_agent.repositories.smb.calls import Calls
from harmony_agent.repositories.smb.errors import is_missing
from harmony_agent.repositories.smb.files import SMALL
from harmony_agent.repositories.smb.messages import Listed
from harmony_agent.repositories.smb.small import (
    Draft,
    find,
    give_back,
    is_folder,
    lock,
    look,
    make_folder,
    read_small,
    remove,
    scan,
    token_of_entry,
)
from harmony_agent.settings.model import SmbRepository

__all__ = ["SmbConnector"]

T = TypeVar("T")


class SmbConnector(BlockingSmb):
    """A folder of a share, with a connection of its own; needs nothing else from `connect`."""

    def __init__(self, settings: SmbRepository, folder: str, **_: object) -> None:
        super().__init__(settings, folder)
        self._under_way: set[asyncio.Task[Any]] = set()
        self._making: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    async def stat(self, path: str) -> Entry | None:
        """See Repository."""
        self._check(path)
        folder, _, name = path.rpartition("/")
        look_up = partial(find, folder=self._below(folder), name=name)
        found = await self._quickly("stat", path, CONTROL_LIMIT, look_up)
        if found is None:
            return await super().stat(path)
        # A file that was renamed from `A` to `a` would look as if `A` still were there as well.
        return next((_entry(path, e) for e in found if e.name == name and not is_folder(e)), None)

    async def read(self, path: str) -> Content:
        """See Repository."""
        self._check(path)
        whole = partial(read_small, path=self._below(path))
        small = await self._quickly("read", path, DATA_LIMIT, whole)
        return Content(*small) if small else await super().read(path)

    async def create(self, path: str, data: bytes) -> Token:
        """See Repository."""
        self._check(path)
        create = partial(self._create_small, path=path, data=data)
        token = await self._quickly("create", path, data_limit(len(data)), create)
        return token or await super().create(path, data)

    async def replace(self, path: str, data: bytes, token: Token) -> Token:
        """See Repository."""
        self._check(path)
        replace = partial(self._replace_small, path=path, data=data, token=token)
        new = await self._quickly("replace", path, data_limit(len(data)), replace)
        return new or await super().replace(path, data, token)

    async def delete(self, path: str, token: Token) -> None:
        """See Repository."""
        self._check(path)
        delete = partial(self._delete_quickly, path=path, token=token)
        if not await self._quickly("delete", path, CONTROL_LIMIT, delete):
            await super().delete(path, token)

    async def make_folder(self, path: str) -> None:
        """See Repository."""
        if path:
            self._check(path)

        async def make(calls: Calls) -> bool:
            await self._make(calls, path)
            return True

        if not await self._quickly("make folder", path, CONTROL_LIMIT, make):
            await super().make_folder(path)

    async def close(self) -> None:
        """See Repository. Operations that nobody waits for any more have a moment to end."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=CONNECT)
        await super().close()

    async def _scanned(self, folder: str) -> Scan:
        scan_quickly = partial(self._scan_quickly, folder=folder)
        found = await self._quickly("list", folder, DATA_LIMIT, scan_quickly)
        return await super()._scanned(folder) if found is None else found

    async def _quickly(
        self, verb: str, path: str, limit: float, do: Callable[[Calls], Awaitable[T | None]]
    ) -> T | None:
        """What `do` gives, without a thread; None if nothing was done since it is not that simple.

        It is carried to its end even if nobody waits for it any more, as in a thread.
        """

        async def whole() -> T | None:
            connection = self._connection.in_loop()
            calls = connection.ready or await self._workers.run(limit, connection.calls)
            if calls is None:
                return None
            try:
                return await do(calls)
            except SMBOSError as error:
                if error.ntstatus == NtStatus.STATUS_STOPPED_ON_SYMLINK:
                    return None
                raise

        return await self._told(verb, path, limit, self._carried(limit, whole()))

    async def _carried(self, limit: float, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._settled)
        try:
            async with asyncio.timeout(limit) as clock:
                return await asyncio.shield(task)
        except TimeoutError as error:
            if not clock.expired():
                raise
            raise OutcomeUnknown(f"no answer within {limit:g} s") from error

    def _settled(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # it may be that nobody waits for it any more

    async def _scan_quickly(self, calls: Calls, folder: str) -> Scan:
        files: list[Entry] = []
        folders: list[str] = []
        for entry in await scan(calls, self._below(folder)):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_link:
                continue
            if is_folder(entry):
                folders.append(path)
            elif not is_temporary(entry.name):
                files.append(_entry(path, entry))
            elif abandoned(entry.attributes.written / 1_000_000):
                await self._workers.run(CONTROL_LIMIT, self._sweep, path)
        return files, folders

    async def _make(self, calls: Calls, folder: str) -> None:
        """Make a folder. Many files that miss the same one have it made once."""
        making = self._making.get(folder)
        if making is None:
            making = asyncio.create_task(make_folder(calls, self._below(folder)))
            self._making[folder] = making
            making.add_done_callback(lambda _: self._making.pop(folder))
        await making

    async def _create_small(self, calls: Calls, path: str, data: bytes) -> Token | None:
        if len(data) > min(SMALL, calls.largest_write):
            return None
        async with self._draft(calls, path) as draft:
            if not await draft.write(data):
                await self._make(calls, path.rpartition("/")[0])
                if not await draft.write(data):
                    raise Unavailable(f"the folder of {path!r} vanishes from {self.location}")
            # Samba looks whether the name is free and then renames: two at once would both win.
            async with self._locked_quickly(calls):
                try:
                    return await draft.rename_and_end(self._below(path))
                except SMBOSError as error:
                    if error.errno == errno.EEXIST:
                        raise self._exists(path) from error
                    raise

    async def _replace_small(
        self, calls: Calls, path: str, data: bytes, token: Token
    ) -> Token | None:
        if len(data) > min(SMALL, calls.largest_write):
            return None
        async with self._draft(calls, path) as draft:
            if not await draft.write(data):
                raise self._is_another(path)  # not even its folder is there
            async with self._locked_quickly(calls):
                if await look(calls, self._below(path)) != token:
                    raise self._is_another(path)
                await _while_in_use(partial(draft.rename_over, self._below(path)))
                return await draft.end()

    async def _delete_quickly(self, calls: Calls, path: str, token: Token) -> bool:
        async with self._locked_quickly(calls):
            present = await look(calls, self._below(path))
            if present not in (None, token):
                raise self._is_another(path)
            if present is not None:
                await _while_in_use(partial(remove, calls, self._below(path)))
        return True

    @asynccontextmanager
    async def _draft(self, calls: Calls, path: str) -> AsyncIterator[Draft]:
        """A temporary file in the folder of `path`, which is removed if an error leaves it."""
        folder = path.rpartition("/")[0]
        place = f"{folder}/{temporary_name()}" if folder else temporary_name()
        draft = Draft(calls, self._below(place))
        try:
            yield draft
        except BaseException:
            await draft.abandon()
            with suppress(AgentError):  # what can't be removed now is swept later
                await self._workers.run(CONTROL_LIMIT, self.remove_draft, self._unc(place))
            raise

    @asynccontextmanager
    async def _locked_quickly(self, calls: Calls) -> AsyncIterator[None]:
        """Hold the repository's lock, over the connection of `calls`. Raises Unavailable if others
        keep it too long."""
        give_up = asyncio.get_running_loop().time() + LOCK_WAIT
        try:
            async with asyncio.timeout_at(give_up):
                await self._turn.acquire()  # own operations wait in a line, and don't poll
        except TimeoutError:
            raise self._is_locked() from None
        try:
            handle = await self._lock_handle(calls, give_up)
            try:
                yield
            finally:
                await give_back(calls, handle)
        finally:
            self._turn.release()

    async def _lock_handle(self, calls: Calls, give_up: float) -> bytes:
        while True:
            try:
                handle = await lock(calls, self._below(LOCK_FILE))
            except SMBOSError as error:
                if not is_missing(error):
                    raise
                await self._make(calls, LOCK_FILE.rpartition("/")[0])
                continue
            if handle is not None:
                return handle
            if asyncio.get_running_loop().time() > give_up:
                raise self._is_locked()
            await asyncio.sleep(RETRY_PAUSE)


def _entry(path: str, found: Listed) -> Entry:
    return Entry(path, found.attributes.size, token_of_entry(found))


async def _while_in_use(change: Callable[[], Awaitable[None]]) -> None:
    """Try again while somebody has the file open."""
    give_up = asyncio.get_running_loop().time() + IN_USE_WAIT
    while True:
        try:
            return await change()
        except SMBOSError as error:
            if error.ntstatus not in IN_USE or asyncio.get_running_loop().time() > give_up:
                raise
        await asyncio.sleep(RETRY_PAUSE)
