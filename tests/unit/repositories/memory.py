"""A repository in memory, with real compare-and-swap, that can be made to fail."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

from harmony_agent.core.errors import Absent, PreconditionFailed
from harmony_agent.repositories.interface import Content, Download, Entry, Repository, Token

__all__ = ["MemoryRepository", "Storage"]


class Storage:
    """What several MemoryRepository share: path to version number and content."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[int, bytes]] = {}
        self.folders: set[str] = set()
        self.versions = 0


class MemoryRepository(Repository):
    """`before` and `after` are called with each operation's name and may raise.

    With `conditional` off, preconditions are ignored, as some S3 servers do.
    """

    kind: ClassVar[str] = "memory"

    def __init__(self, storage: Storage | None = None, *, conditional: bool = True) -> None:
        self.storage = storage or Storage()
        self.conditional = conditional
        self.before: Callable[[str], None] = lambda operation: None
        self.after: Callable[[str], None] = lambda operation: None
        self.operations: list[str] = []

    @property
    def location(self) -> str:
        """See Repository."""
        return "memory"

    def _begin(self, operation: str) -> None:
        self.operations.append(operation)
        self.before(operation)

    async def open(self) -> None:
        """See Repository."""
        self._begin("open")

    async def close(self) -> None:
        """See Repository."""
        self.operations.append("close")

    async def list(self, folder: str = "") -> list[Entry]:
        """See Repository."""
        self._begin("list")
        prefix = f"{folder}/" if folder else ""
        return [
            Entry(path, len(data), Token(str(version)))
            for path, (version, data) in sorted(self.storage.files.items())
            if path.startswith(prefix)
        ]

    async def stat(self, path: str) -> Entry | None:
        """See Repository."""
        self._begin("stat")
        if path not in self.storage.files:
            return None
        version, data = self.storage.files[path]
        return Entry(path, len(data), Token(str(version)))

    async def read(self, path: str) -> Content:
        """See Repository."""
        self._begin("read")
        if path not in self.storage.files:
            raise Absent(path)
        version, data = self.storage.files[path]
        return Content(data, Token(str(version)))

    @asynccontextmanager
    async def download(self, path: str) -> AsyncIterator[Download]:
        """See Repository."""
        content = await self.read(path)

        async def chunks() -> AsyncIterator[bytes]:
            yield content.data

        yield Download(len(content.data), content.token, chunks())

    async def upload(
        self, path: str, size: int, chunks: AsyncIterator[bytes], token: Token | None
    ) -> Token:
        """See Repository."""
        data = b"".join([chunk async for chunk in chunks])
        if token is None:
            return await self.create(path, data)
        return await self.replace(path, data, token)

    async def create(self, path: str, data: bytes) -> Token:
        """See Repository."""
        self._begin("create")
        if self.conditional and path in self.storage.files:
            raise PreconditionFailed(path)
        return self._put("create", path, data)

    async def replace(self, path: str, data: bytes, token: Token) -> Token:
        """See Repository."""
        self._begin("replace")
        self._require(path, token)
        return self._put("replace", path, data)

    async def delete(self, path: str, token: Token) -> None:
        """See Repository."""
        self._begin("delete")
        if path in self.storage.files:
            self._require(path, token)
            del self.storage.files[path]
        self.after("delete")

    async def make_folder(self, path: str) -> None:
        """See Repository."""
        self._begin("make_folder")
        self.storage.folders.add(path)

    def _require(self, path: str, token: Token) -> None:
        present = self.storage.files.get(path)
        if self.conditional and (present is None or str(present[0]) != token):
            raise PreconditionFailed(path)

    def _put(self, operation: str, path: str, data: bytes) -> Token:
        self.storage.versions += 1
        self.storage.files[path] = (self.storage.versions, data)
        token = Token(str(self.storage.versions))
        self.after(operation)
        return token
