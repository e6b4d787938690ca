"""The one narrow interface to a storage backend.

Few, exact operations; nothing else in the agent touches a backend. Paths are relative to the
repository's root, POSIX style, without a leading slash. Every call has a time limit of its own and
raises nothing but the errors of `harmony_agent.core.errors`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

from harmony_agent.core.errors import AgentError, Unsupported
from harmony_agent.repositories.names import check_path
from harmony_agent.repositories.token import Token

__all__ = ["Content", "Download", "Entry", "Repository", "Token"]

T = TypeVar("T")


class Entry(NamedTuple):
    """One file of a listing: path below the repository's root, size in bytes, version token."""

    path: str
    size: int
    token: Token


class Content(NamedTuple):
    """A file's whole content together with the token of exactly this content."""

    data: bytes
    token: Token


@dataclass(frozen=True, slots=True)
class Download:
    """A file whose content arrives in pieces: its size in bytes, the token of exactly this
    content, and the pieces, which raise the errors of Repository when the rest can't be had."""

    size: int
    token: Token
    chunks: AsyncIterator[bytes]


class Repository(ABC):
    """A root folder on a storage backend.

    Errors of all operations: Unavailable (try again), Refused (credentials, permission, missing
    bucket or share: a person has to act), OutcomeUnknown (a write whose answer was lost), and
    Unsupported (a name this backend can't hold).
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def location(self) -> str:
        """Where it is, for people: `s3://bucket/root`, `//server/share/root`; no secrets."""

    @property
    def folds_case(self) -> bool:
        """Whether names that differ only in case are one file there."""
        return False

    @property
    def at_once(self) -> int:
        """How many operations one caller should have under way: more gain nothing there, or leave
        nothing for the others."""
        return 16

    @property
    def together(self) -> int:
        """How many small files `create_all`, `replace_all` and `read_all` are best given; 1:
        nothing is gained by more than one."""
        return 1

    def name_problem(self, path: str) -> str | None:
        """Why this backend can't hold a file of this name, for a person; None if it can."""
        try:
            self._check(path)
        except Unsupported as error:
            return str(error)
        return None

    def _check(self, path: str) -> None:
        """Raise Unsupported if the backend can't hold this name."""
        check_path(path)

    @abstractmethod
    async def open(self) -> None:
        """Connect and prove that the container (bucket, share, folder) exists; idempotent."""

    @abstractmethod
    async def close(self) -> None:
        """Give back connections and threads; idempotent."""

    @abstractmethod
    async def list(self, folder: str = "") -> list[Entry]:
        """All files below `folder`, at any depth: complete, or it raises. A folder that does not
        exist has no files. Folder placeholders are not files."""

    @abstractmethod
    async def stat(self, path: str) -> Entry | None:
        """The file's present version, or None if there is none."""

    @abstractmethod
    async def read(self, path: str) -> Content:
        """The whole file; raises Absent if there is none."""

    @abstractmethod
    def download(self, path: str) -> AbstractAsyncContextManager[Download]:
        """The file in pieces, for one too large for memory; entering raises Absent if there is
        none. The time limit is one without progress."""

    @abstractmethod
    async def upload(
        self, path: str, size: int, chunks: AsyncIterator[bytes], token: Token | None
    ) -> Token:
        """Write a file of `size` bytes that is too large for memory: create it (`token` None) or
        replace the version `token`, with the errors of `create` and `replace`.

        Readers see it whole or not at all: an error that `chunks` raises leaves the old version
        and is raised again as it is.
        """

    @abstractmethod
    async def create(self, path: str, data: bytes) -> Token:
        """Write a file that must not exist yet (parents are made); raises PreconditionFailed if
        it does. Readers see it whole or not at all."""

    async def create_all(self, files: Sequence[tuple[str, bytes]]) -> Sequence[Token | AgentError]:
        """`create` each of these small files; what became of each, in order."""
        return [await _outcome(self.create(path, data)) for path, data in files]

    async def replace_all(
        self, files: Sequence[tuple[str, bytes, Token]]
    ) -> Sequence[Token | AgentError]:
        """`replace` each of these small files; what became of each, in order."""
        return [await _outcome(self.replace(path, data, token)) for path, data, token in files]

    async def read_all(self, paths: Sequence[str]) -> Sequence[Content | AgentError]:
        """`read` each of these small files; what became of each, in order."""
        return [await _outcome(self.read(path)) for path in paths]

    @abstractmethod
    async def replace(self, path: str, data: bytes, token: Token) -> Token:
        """Replace the version `token` whole; raises PreconditionFailed if that is not the present
        version, or if the file is gone."""

    @abstractmethod
    async def delete(self, path: str, token: Token) -> None:
        """Delete the version `token`; raises PreconditionFailed if another version stands there.
        A file that is gone already is no error."""

    @abstractmethod
    async def make_folder(self, path: str) -> None:
        """Make a folder (or its placeholder object) and its parents; idempotent, also when
        several nodes do it at the same instant."""

    async def await_change(self, folder: str, limit: float) -> None:
        """Return when something directly in `folder` may have changed, at the latest after
        `limit` seconds; a hint only. Where the backend can't tell, that is simply the wait.

        Never raises the backend's errors: the next look at the folder will.
        """
        await asyncio.sleep(limit)


async def _outcome(operation: Awaitable[T]) -> T | AgentError:
    try:
        return await operation
    except AgentError as error:
        return error
