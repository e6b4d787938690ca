"""What is known of one file: in Harmony's home, in the base, in the repository.

Tuples, since a large home makes a hundred thousand of them: they are made in a third of the time.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from harmony_agent.repositories.token import Token

__all__ = ["BaseRow", "LocalFile", "LocalState", "Obstacle", "RemoteFile", "RemoteState", "digest"]


class LocalFile(NamedTuple):
    """A file as it was read: content hash (hex), size in bytes, and the stat it was read under."""

    sha256: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a file can't be judged: nothing may be concluded from it, nothing done to it.

    `passing` obstacles go away by themselves (a file still being written); the others need a
    person (a symbolic link, a name no repository can hold).
    """

    reason: str
    passing: bool = False


class RemoteFile(NamedTuple):
    """A version in the repository; its content hash (hex) is None until somebody read it."""

    token: Token
    size: int
    sha256: str | None = None


class BaseRow(NamedTuple):
    """What home and repository agreed on last: the content, its local stat, its remote token."""

    sha256: str
    size: int
    mtime_ns: int
    inode: int
    token: Token

    @classmethod
    def of(cls, local: LocalFile, token: Token) -> "BaseRow":
        """That home's `local` and the repository's `token` are the same content."""
        return cls(local.sha256, local.size, local.mtime_ns, local.inode, token)


# None: the file is not there.
LocalState = LocalFile | Obstacle | None
RemoteState = RemoteFile | None


def digest(data: bytes) -> str:
    """The content hash all comparisons use: SHA-256 as hex."""
    return hashlib.sha256(data).hexdigest()
