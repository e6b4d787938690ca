"""The one narrow interface to a storage backend.

Few, exact operations; nothing else in the agent touches a backend. Paths are relative to the
repository's root, POSIX style, without a leading slash. Every call has a time limit of its own and
raises nothing but the errors of `harmony_agent.core.errors`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NewType

__all__ = ["Content", "Entry", "Repository", "Token"]

# Names one version of one file; compared for equality only: an ETag, an Azure etag, a generation,
# or (id, size, write time, change time) of a file.
Token = NewType("Token", str)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a listing: path below the repository's root, size in bytes, version token."""

    path: str
    size: int
    token: Token


@dataclass(frozen=True, slots=True)
class Content:
    """A file's whole content together with the token of exactly this content."""

    data: bytes
    token: Token


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
    async def create(self, path: str, data: bytes) -> Token:
        """Write a file that must not exist yet (parents are made); raises PreconditionFailed if
        it does. Readers see it whole or not at all."""

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
