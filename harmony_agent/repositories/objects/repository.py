"""What the object stores (S3, Azure, GCS) have in common.

Nothing is retried silently: a write whose answer was lost is looked up here, since a second try
would report our own object as somebody else's.
"""

import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import PurePosixPath
from typing import Final, TypeVar

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    Unavailable,
    Unsupported,
)
from harmony_agent.repositories.http.connection import Beat, Stream
from harmony_agent.repositories.http.errors import Denied
from harmony_agent.repositories.interface import Content, Download, Entry, Repository, Token
from harmony_agent.repositories.limits import CONTROL_LIMIT, DATA_LIMIT, PARALLEL, data_limit
from harmony_agent.repositories.names import parents
from harmony_agent.repositories.objects.guard import Guard
from harmony_agent.repositories.objects.uploads import SourceFailed, watched

__all__ = ["ObjectRepository"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LARGEST: Final = 5000 * 1024 * 1024
"""Bytes in one request: Azure's limit ("Put Blob"); S3 takes a little more, Google much more."""


class ObjectRepository(Repository):
    """Keys are `root` + path; folders are empty objects whose key ends in a slash.

    Connectors implement the operations with a leading underscore, each one request (a page of a
    listing counts as one). They raise what their library raises: `_translate` turns it into the
    agent's errors.
    """

    def __init__(self, root: PurePosixPath) -> None:
        # rootPath may be written /like/this.
        self._root = "/".join(part for part in root.parts if part != "/")
        self._folders: set[str] = set()  # made by us or found: not made again
        self._takes_folders = True

    @abstractmethod
    def _translate(self, error: Exception, what: str) -> AgentError:
        """The agent's error for a library's; `what` is the operation and the place."""

    @abstractmethod
    async def _connect(self) -> None:
        """Make the client and prove that the bucket or container exists."""

    @abstractmethod
    async def _head(self, key: str) -> Entry | None:
        """Size and token of `key`, or None; the entry's path is the key."""

    @abstractmethod
    async def _get(self, key: str, beat: Beat) -> Content: ...

    @abstractmethod
    async def _put(self, key: str, body: bytes | Stream, token: Token | None, beat: Beat) -> Token:
        """Write `key` over version `token`; it must not exist if `token` is None.

        One that breaks off leaves nothing to be seen.
        """

    @abstractmethod
    async def _open(self, key: str, resources: AsyncExitStack) -> Download:
        """Begin to read `key`; what has to be closed afterwards goes into `resources`."""

    @abstractmethod
    async def _remove(self, key: str, token: Token) -> None:
        """Delete version `token` of `key`."""

    @abstractmethod
    def _pages(self, prefix: str) -> AsyncIterator[list[Entry]]:
        """All objects below `prefix`, page by page; the entries' paths are keys."""

    @property
    def at_once(self) -> int:
        """See Repository."""
        return PARALLEL // 2

    async def open(self) -> None:
        """See Repository."""
        async with self._guarded("open", "", CONTROL_LIMIT):
            await self._connect()

    async def list(self, folder: str = "") -> list[Entry]:
        """See Repository."""
        whole = self._key(folder) if folder else self._root
        prefix = f"{whole}/" if whole else ""
        below = len(self._root) + 1 if self._root else 0
        found: list[Entry] = []
        async with self._guarded("list", folder, DATA_LIMIT) as beat:
            async for page in self._pages(prefix):
                beat()
                found += (
                    Entry(entry.path[below:], entry.size, entry.token)
                    for entry in page
                    if not entry.path.endswith("/")
                )
        return found

    async def stat(self, path: str) -> Entry | None:
        """See Repository."""
        entry = await self._asking("stat", path, lambda: self._head(self._key(path)))
        return Entry(path, entry.size, entry.token) if entry else None

    async def read(self, path: str) -> Content:
        """See Repository."""

        async def read() -> Content:
            async with self._guarded("read", path, DATA_LIMIT) as beat:
                return await self._get(self._key(path), beat)

        return await _twice(read)

    @asynccontextmanager
    async def download(self, path: str) -> AsyncIterator[Download]:
        """See Repository."""
        key = self._key(path)
        async with AsyncExitStack() as resources:

            async def begin() -> Download:
                async with self._guarded("read", path, DATA_LIMIT):
                    return await self._open(key, resources)

            found = await _twice(begin)
            yield Download(found.size, found.token, self._in_time(path, found.chunks))

    async def _in_time(self, path: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces, each within the limit, which does not run while the reader is busy."""
        while True:
            async with self._guarded("read", path, DATA_LIMIT):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield chunk

    async def upload(
        self, path: str, size: int, chunks: AsyncIterator[bytes], token: Token | None
    ) -> Token:
        """See Repository. A lost answer is not looked up: that would read it all again."""
        key = self._key(path)
        if size > _LARGEST:
            raise Unsupported(f"{path!r} is larger than {_LARGEST // 1024**2} MiB")
        try:
            async with self._guarded("write", path, DATA_LIMIT) as beat:
                return await self._put(key, Stream(size, watched(size, chunks)), token, beat)
        except SourceFailed as error:
            raise error.reason from None
        except Absent as error:
            raise self._gone(path) from error

    async def create(self, path: str, data: bytes) -> Token:
        """See Repository. If the answer is lost, an object with just these bytes counts as ours:
        content that several nodes could write alike needs something of its own in it."""
        return await self._write("create", path, data, None)

    async def replace(self, path: str, data: bytes, token: Token) -> Token:
        """See Repository. A lost answer is handled as in `create`."""
        return await self._write("replace", path, data, token)

    async def delete(self, path: str, token: Token) -> None:
        """See Repository."""
        key = self._key(path)
        try:
            async with self._guarded("delete", path, CONTROL_LIMIT):
                await self._remove(key, token)
        except Absent:
            return
        except PreconditionFailed:
            # Some servers answer 412 for an object that is gone.
            if await self.stat(path):
                raise
        except OutcomeUnknown:
            if await self.stat(path):
                raise

    async def make_folder(self, path: str) -> None:
        """See Repository. Harmony's connectors look for these objects unless they are told that
        folders are but prefixes ("Pseudo Folders" of its S3 connector)."""
        whole = self._key(path) if path else self._root
        for folder in parents(whole) if whole else ():
            if folder not in self._folders and self._takes_folders:
                await self._make_placeholder(path, f"{folder}/")
                self._folders.add(folder)

    async def _make_placeholder(self, path: str, key: str) -> None:
        try:
            async with self._guarded("make folder", path, CONTROL_LIMIT) as beat:
                await self._put(key, b"", None, beat)
        except PreconditionFailed:
            pass  # another node was first
        except (Refused, Unsupported) as error:
            # Some servers know no names that end in a slash, and nothing of ours needs them. Where
            # it is a matter of permission instead, the next write tells.
            self._takes_folders = False
            _log.warning(
                "the server takes no folder placeholders; going on without",
                extra={"repository": self.location, "error": str(error)},
            )

    async def _write(self, verb: str, path: str, data: bytes, token: Token | None) -> Token:
        key = self._key(path)
        try:
            async with self._guarded(verb, path, data_limit(len(data))) as beat:
                return await self._put(key, data, token, beat)
        except Absent as error:
            raise self._gone(path) from error
        except OutcomeUnknown:
            if (token_of_ours := await self._found_again(key, data)) is not None:
                return token_of_ours
            raise

    def _gone(self, path: str) -> PreconditionFailed:
        """For a conditional write on a missing key, which some servers answer with 404."""
        return PreconditionFailed(f"{path!r} is gone from {self.location}")

    async def _found_again(self, key: str, data: bytes) -> Token | None:
        """The token of `key` if it holds `data`: a write whose answer was lost has happened."""
        try:
            async with self._guarded("read back", key, CONTROL_LIMIT) as beat:
                content = await self._get(key, beat)
        except (Absent, Unavailable):
            return None
        return content.token if content.data == data else None

    async def _asking(self, verb: str, path: str, ask: Callable[[], Awaitable[T]]) -> T:
        async def once() -> T:
            async with self._guarded(verb, path, CONTROL_LIMIT):
                return await ask()

        return await _twice(once)

    def _key(self, path: str) -> str:
        self._check(path)
        return f"{self._root}/{path}" if self._root else path

    def _guarded(self, verb: str, path: str, limit: float) -> Guard:
        """Set the time limit and translate errors: the one place for both."""

        def what() -> str:
            place = f"{path!r} in {self.location}" if path else self.location
            return f"can't {verb} {place}"

        return Guard(limit, what, self._translate)


async def _twice(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask once more if the connection broke: pooled ones may have died of idleness. A request that
    ran into its time limit is not asked again, nor one that was answered: a server that is busy
    would be asked twice as often."""
    try:
        return await ask()
    except Unavailable as error:
        if isinstance(error.__cause__, TimeoutError | Denied):
            raise
        return await ask()
