"""What the backends with real folders (mounted ones and SMB) have in common.

Their libraries block, so each call runs in one of a few threads and is given up after its limit.
"""

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from harmony_agent.core.errors import AgentError, OutcomeUnknown, PreconditionFailed, Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.repositories.interface import Content, Download, Entry, Repository, Token
from harmony_agent.repositories.layout import CONTROL
from harmony_agent.repositories.limits import CONTROL_LIMIT, DATA_LIMIT, data_limit

__all__ = [
    "ABANDONED_AFTER",
    "LOCK_FILE",
    "LOCK_WAIT",
    "THREADS",
    "FolderRepository",
    "Opened",
    "Scan",
    "Staged",
    "abandoned",
]

T = TypeVar("T")

THREADS: Final = 16
LOCK_FILE: Final = f"{CONTROL}/lock"
"""Held while a file is replaced or deleted, so that check and change are one step."""
LOCK_WAIT: Final = 8.0
"""Seconds to wait for the lock; less than the limit of the operation that needs it."""
ABANDONED_AFTER: Final = 24 * 3600.0
"""Seconds after which a temporary file belongs to a writer that died; clocks may differ by hours,
and no write takes a day."""

_CHUNK: Final = 4 * 1024 * 1024  # bytes of a large file that are in memory at a time
_READ_ATTEMPTS: Final = 5

# Files and the names of sub-folders of one folder.
Scan = tuple[list[Entry], list[str]]


class Staged(ABC):
    """A temporary file beside its target. Methods block and raise the library's errors."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Append; now and then has what is written on the disk."""

    @abstractmethod
    def publish(self, token: Token | None) -> Token:
        """Have it on the disk and give it its name, which must be free (`token` None) or stand
        for the version `token`; raises PreconditionFailed if it does not."""

    @abstractmethod
    def discard(self) -> None:
        """Remove it unless it has its name; never raises."""


class Opened(ABC):
    """A file that is read in pieces. Methods block and raise the library's errors."""

    size: int
    token: Token

    @abstractmethod
    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; none at the end."""

    @abstractmethod
    def is_unchanged(self) -> bool:
        """Whether all that was read is of the version `token`."""

    @abstractmethod
    def close(self) -> None:
        """Give it back; never raises."""


class FolderRepository(Repository):
    """Runs a connector's blocking operations in threads and lists folder by folder.

    Connectors implement the operations with a leading underscore. They may raise what their
    library raises: `_translate` turns it into the agent's errors.
    """

    def __init__(self) -> None:
        self._workers = Workers(f"{self.kind}-repository", THREADS)

    @abstractmethod
    def _translate(self, error: Exception, what: str) -> AgentError:
        """The agent's error for a library's; `what` is the operation and the place."""

    @abstractmethod
    def _connect(self) -> None:
        """Connect and prove that the base exists."""

    @abstractmethod
    def _scan(self, folder: str) -> Scan:
        """What lies directly in `folder`; nothing if it does not exist. Removes temporary files
        older than ABANDONED_AFTER."""

    @abstractmethod
    def _stat(self, path: str) -> Entry | None: ...

    @abstractmethod
    def _open(self, path: str) -> Opened:
        """The file's present version."""

    @abstractmethod
    def _stage(self, path: str) -> Staged:
        """An empty temporary file in the folder of `path`, which is made if need be."""

    @abstractmethod
    def _delete(self, path: str, token: Token) -> None: ...

    @abstractmethod
    def _make_folder(self, path: str) -> None: ...

    async def open(self) -> None:
        """See Repository."""
        await self._run("open", "", CONTROL_LIMIT, self._connect)

    async def close(self) -> None:
        """See Repository."""
        self._workers.close()

    async def list(self, folder: str = "") -> list[Entry]:
        """See Repository. Folders of one level are read side by side."""
        if folder:
            self._check(folder)
        found: list[Entry] = []
        level = [folder]
        while level:
            scans = await self._scan_all(level)
            level = []
            for files, folders in scans:
                found += (entry for entry in files if entry.path != LOCK_FILE)
                level += folders
        return found

    async def _scan_all(self, folders: Sequence[str]) -> Sequence[Scan]:
        """Scan `folders` side by side; the first failure ends the others."""
        slots = asyncio.Semaphore(THREADS // 2)  # others want to work as well

        async def scan(folder: str) -> Scan:
            async with slots:
                return await self._scanned(folder)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(scan(folder)) for folder in folders]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return [task.result() for task in tasks]

    async def _scanned(self, folder: str) -> Scan:
        return await self._run("list", folder, DATA_LIMIT, lambda: self._scan(folder))

    async def stat(self, path: str) -> Entry | None:
        """See Repository."""
        self._check(path)
        return await self._run("stat", path, CONTROL_LIMIT, lambda: self._stat(path))

    async def read(self, path: str) -> Content:
        """See Repository."""
        self._check(path)
        return await self._run("read", path, DATA_LIMIT, lambda: self._read(path))

    @contextlib.asynccontextmanager
    async def download(self, path: str) -> AsyncIterator[Download]:
        """See Repository."""
        self._check(path)
        opened = await self._run("read", path, CONTROL_LIMIT, lambda: self._open(path))

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := await self._run("read", path, DATA_LIMIT, lambda: opened.read(_CHUNK)):
                yield chunk
            if not await self._run("read", path, CONTROL_LIMIT, opened.is_unchanged):
                raise self._being_written(path)

        try:
            yield Download(opened.size, opened.token, chunks())
        finally:
            await self._run("close", path, CONTROL_LIMIT, opened.close)

    async def upload(
        self, path: str, size: int, chunks: AsyncIterator[bytes], token: Token | None
    ) -> Token:
        """See Repository."""
        self._check(path)
        written = 0
        staged = await self._run("write", path, CONTROL_LIMIT, lambda: self._stage(path))
        try:
            async for chunk in chunks:
                limit = data_limit(len(chunk))
                await self._run("write", path, limit, partial(staged.write, chunk))
                written += len(chunk)
            if written != size:
                raise PreconditionFailed(f"{path!r} has {written} bytes instead of {size}")
            return await self._run("write", path, DATA_LIMIT, lambda: staged.publish(token))
        finally:
            await self._run("discard", path, CONTROL_LIMIT, staged.discard)

    async def create(self, path: str, data: bytes) -> Token:
        """See Repository."""
        self._check(path)
        limit = data_limit(len(data))
        return await self._run("create", path, limit, lambda: self._write(path, data, None))

    async def replace(self, path: str, data: bytes, token: Token) -> Token:
        """See Repository."""
        self._check(path)
        limit = data_limit(len(data))
        return await self._run("replace", path, limit, lambda: self._write(path, data, token))

    async def delete(self, path: str, token: Token) -> None:
        """See Repository."""
        self._check(path)
        await self._run("delete", path, CONTROL_LIMIT, lambda: self._delete(path, token))

    async def make_folder(self, path: str) -> None:
        """See Repository."""
        if path:
            self._check(path)
        await self._run("make folder", path, CONTROL_LIMIT, lambda: self._make_folder(path))

    def _read(self, path: str) -> Content:
        for _ in range(_READ_ATTEMPTS):
            with contextlib.closing(self._open(path)) as opened:
                data = _whole(opened)
                if opened.is_unchanged():
                    return Content(data, opened.token)
        raise self._being_written(path)

    def _write(self, path: str, data: bytes, token: Token | None) -> Token:
        staged = self._stage(path)
        try:
            staged.write(data)
            return staged.publish(token)
        finally:
            staged.discard()

    def _being_written(self, path: str) -> Unavailable:
        return Unavailable(f"{path!r} in {self.location} is being written; it is read later")

    async def _run(self, verb: str, path: str, limit: float, call: Callable[[], T]) -> T:
        """Run a blocking operation, its errors translated."""
        return await self._told(verb, path, limit, self._workers.run(limit, call))

    async def _told(self, verb: str, path: str, limit: float, work: Awaitable[T]) -> T:
        """What becomes of `work`, which takes `limit` seconds, its errors translated."""
        try:
            return await work
        except OutcomeUnknown as error:
            self._given_up()
            what = self._what(verb, path)
            raise OutcomeUnknown(f"{what}: no answer within {limit:g} s") from error
        except AgentError:
            raise
        except Exception as error:  # libraries raise anything; this is the seam
            raise self._translate(error, self._what(verb, path)) from error

    def _what(self, verb: str, path: str) -> str:
        """An operation and its place, for a person."""
        return (
            f"can't {verb} {path!r} in {self.location}" if path else f"can't {verb} {self.location}"
        )

    def _given_up(self) -> None:
        """An operation did not return in time; connectors free its thread if they can."""


def _whole(opened: Opened) -> bytes:
    """All of it; if it grows meanwhile `is_unchanged` tells."""
    data = opened.read(min(opened.size, _CHUNK))
    while len(data) < opened.size and (piece := opened.read(_CHUNK)):
        data += piece
    return data


def abandoned(modified: float) -> bool:
    """Whether a temporary file last written at `modified` (Unix seconds) belongs to nobody."""
    return time.time() - modified > ABANDONED_AFTER
