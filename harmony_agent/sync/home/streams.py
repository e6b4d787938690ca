"""Files of Harmony's home in pieces: read and checked, or written beside. Blocking."""

import hashlib
from pathlib import Path
from typing import Final

from harmony_agent.core.durable import Draft
from harmony_agent.core.errors import PreconditionFailed
from harmony_agent.sync.decisions.states import LocalFile

__all__ = ["CHUNK", "Incoming", "Outgoing", "content_hash"]

CHUNK: Final = 4 * 1024 * 1024
"""Bytes of a large file that are moved at a time."""


def content_hash(path: Path) -> str:
    """SHA-256 of the file as hex; raises OSError."""
    found = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(CHUNK):
            found.update(piece)
    return found.hexdigest()


class Outgoing:
    """The version `expected` of a file, in pieces.

    The last piece is handed out only if all of them are that version: what it is sent to waits for
    it, and nothing else ever becomes a file there.
    """

    def __init__(self, path: Path, expected: LocalFile) -> None:
        """Raises OSError."""
        self._path = path
        self._expected = expected
        self._hash = hashlib.sha256()
        self._file = path.open("rb", buffering=0)
        self._ahead = self._read()

    def next(self) -> bytes:
        """The next piece, none at the end; raises OSError, or PreconditionFailed if the file is
        another by now."""
        piece = self._ahead
        if piece:
            self._ahead = self._read()
            if not self._ahead and self._hash.hexdigest() != self._expected.sha256:
                raise PreconditionFailed(f"{self._path} has changed")
        return piece

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> bytes:
        piece = self._file.read(CHUNK)
        self._hash.update(piece)
        return piece


class Incoming:
    """A file that is written beside its target. Methods raise OSError; `discard` it in the end."""

    def __init__(self, target: Path, mode: int) -> None:
        self.draft = Draft(target, mode=mode)
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Append."""
        self.draft.write(data)
        self._hash.update(data)

    @property
    def sha256(self) -> str:
        """Of all that was written."""
        return self._hash.hexdigest()

    def described(self) -> LocalFile:
        """What a scan finds once it has its name, unless somebody has written into it since."""
        status = self.draft.written
        return LocalFile(self.sha256, status.st_size, status.st_mtime_ns, status.st_ino)

    def discard(self) -> None:
        """Remove it unless it has its name."""
        self.draft.discard()
