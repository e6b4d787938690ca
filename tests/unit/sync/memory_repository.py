"""A repository in memory with real compare-and-swap, which can be told to fail."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from typing import ClassVar

from harmony_agent.core.errors import (
    Absent,
    OutcomeUnknown,
    PreconditionFailed,
    Unavailable,
    Unsupported,
)
from harmony_agent.repositories.interface import Content, Download, Entry, Repository, Token
from harmony_agent.sync.conflicts.store import Conflict

__all__ = ["MemoryRepository"]


class MemoryRepository(Repository):
    """Files are in `files`; `calls` holds every operation with its path, in order.

    `before` is called with each operation and its path before it takes effect and may raise, or
    change `files` as a foreign writer would; `overwriting` with the path and the content that a
    `replace` or `delete` is about to end, once its precondition holds. Writes for which
    `loses_answer` says so take effect and then raise OutcomeUnknown. With `down` everything
    raises Unavailable. `in_one_go` is how many small files it takes together. Names that hold one
    of the letters `forbidden` are Unsupported.
    """

    kind: ClassVar[str] = "memory"

    def __init__(self) -> None:
        self.files: dict[str, Content] = {}
        self.calls: list[tuple[str, str]] = []
        self.down = False
        self.folding = False
        self.in_one_go = 1
        self.forbidden = ""
        self.delay = 0.0
        self.before: Callable[[str, str], None] = lambda operation, path: None
        self.overwriting: Callable[[str, bytes], None] = lambda path, content: None
        self.loses_answer: Callable[[str, str], bool] = lambda operation, path: False
        self._tokens = itertools.count(1)

    @property
    def folds_case(self) -> bool:
        """See Repository."""
        return self.folding

    @property
    def together(self) -> int:
        """See Repository."""
        return self.in_one_go

    def _check(self, path: str) -> None:
        super()._check(path)
        if set(self.forbidden) & set(path):
            raise Unsupported(f"{path} has one of {self.forbidden}")

    @property
    def location(self) -> str:
        """See Repository."""
        return "memory://test"

    def put(self, path: str, data: bytes) -> Token:
        """Write as a foreign writer does: without asking."""
        token = Token(f"t{next(self._tokens)}")
        self.files[path] = Content(data, token)
        return token

    def owned(self) -> dict[str, bytes]:
        """Content by path, without the agent's own folder."""
        return {
            path: content.data
            for path, content in self.files.items()
            if not path.startswith(".harmony-agent/")
        }

    def kept(self) -> list[bytes]:
        """What was set aside."""
        return [
            content.data
            for path, content in self.files.items()
            if path.startswith(".harmony-agent/set-aside/")
        ]

    def conflicts(self) -> list[tuple[str, bytes]]:
        """What lies in the conflict store: Harmony's path and content."""
        found = [(Conflict.of(path, 0), content.data) for path, content in self.files.items()]
        return [(conflict.path, data) for conflict, data in found if conflict is not None]

    def count(self, operation: str) -> int:
        """How often an operation was called."""
        return sum(called == operation for called, _ in self.calls)

    async def open(self) -> None:
        """See Repository."""

    async def close(self) -> None:
        """See Repository."""

    async def list(self, folder: str = "") -> list[Entry]:
        """See Repository."""
        await self._enter("list", folder)
        return [
            Entry(path, len(content.data), content.token)
            for path, content in self.files.items()
            if not folder or path.startswith(f"{folder}/")
        ]

    async def stat(self, path: str) -> Entry | None:
        """See Repository."""
        await self._enter("stat", path)
        content = self.files.get(path)
        return None if content is None else Entry(path, len(content.data), content.token)

    async def read(self, path: str) -> Content:
        """See Repository."""
        await self._enter("read", path)
        if path not in self.files:
            raise Absent(path)
        return self.files[path]

    @contextlib.asynccontextmanager
    async def download(self, path: str) -> AsyncIterator[Download]:
        """See Repository."""
        content = await self.read(path)
        yield Download(len(content.data), content.token, _pieces(content.data))

    async def upload(
        self, path: str, size: int, chunks: AsyncIterator[bytes], token: Token | None
    ) -> Token:
        """See Repository."""
        data = b"".join([chunk async for chunk in chunks])
        assert len(data) == size
        if token is None:
            return await self.create(path, data)
        return await self.replace(path, data, token)

    async def create(self, path: str, data: bytes) -> Token:
        """See Repository."""
        await self._enter("create", path)
        if path in self.files:
            raise PreconditionFailed(path)
        return self._answer("create", path, self.put(path, data))

    async def replace(self, path: str, data: bytes, token: Token) -> Token:
        """See Repository."""
        await self._enter("replace", path)
        if path not in self.files or self.files[path].token != token:
            raise PreconditionFailed(path)
        self.overwriting(path, self.files[path].data)
        return self._answer("replace", path, self.put(path, data))

    async def delete(self, path: str, token: Token) -> None:
        """See Repository."""
        await self._enter("delete", path)
        present = self.files.get(path)
        if present is not None:
            if present.token != token:
                raise PreconditionFailed(path)
            self.overwriting(path, present.data)
            del self.files[path]
        self._answer("delete", path, token)

    async def make_folder(self, path: str) -> None:
        """See Repository."""
        await self._enter("make_folder", path)

    async def _enter(self, operation: str, path: str) -> None:
        self.calls.append((operation, path))
        await asyncio.sleep(self.delay)
        self._check(path)
        if self.down:
            raise Unavailable("the repository is down")
        self.before(operation, path)

    def _answer(self, operation: str, path: str, token: Token) -> Token:
        if self.loses_answer(operation, path):
            raise OutcomeUnknown("no answer")
        return token


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1024):
        yield data[start : start + 1024]
