"""The log and the files it was put away to: opened alike, whether plain, gzip or zip.

Which names and forms Harmony's archive uses is not documented, so a file counts by what is in it.
"""

import contextlib
import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from harmony_agent.logs.sources.packed import CannotUnpack, members, natural, unpacked
from harmony_agent.logs.sources.position import Position

__all__ = ["Generation", "Incomplete", "Seen", "Source", "archived", "open_source"]

log = logging.getLogger(__name__)

_HEAD: Final = 1024  # bytes of a file's beginning that its fingerprint holds
_TAIL: Final = 256  # and of those before the offset: the last event, with its date and number
_KEY: Final = 64 * 1024  # bytes by which a file and its packed copy are known as the same

# Packing cuts times of change to whole seconds (gzip) or to two (zip).
_COARSE_NS: Final = 2_000_000_000
_PACKED: Final = (".gz", ".zip")

# Beside the log lie other files of Harmony's, some of them written all the time.
_BESIDE: Final = re.compile(r"\.(xml|zip|gz)\b")

# A packed file that can't be read yet is being written; after this long it is broken.
_PACKING_SECONDS: Final = 60.0


class Incomplete(Exception):
    """A packed file that is still being written."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One file that is or was the log; `modified` in nanoseconds. `member` names it in a zip."""

    path: Path
    modified: int
    archived: bool
    member: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The bytes before a position that identify it: the file's beginning, and the last ones."""

    head: bytes
    tail: bytes

    def fingerprint(self) -> str:
        """Their hash."""
        return hashlib.blake2b(self.head + self.tail, digest_size=16).hexdigest()

    def then(self, data: bytes) -> "Seen":
        """What is seen after reading on through `data`."""
        head = (self.head + data[:_HEAD])[:_HEAD] if len(self.head) < _HEAD else self.head
        return Seen(head, (self.tail + data[-_TAIL:])[-_TAIL:])


class Source:
    """An open generation, read by offset. All methods raise OSError."""

    def __init__(self, generation: Generation, file: BinaryIO, status: os.stat_result) -> None:
        """`status` is that of the file on disk, `file` its content."""
        self.generation = generation
        self.identity = (status.st_dev, status.st_ino)
        self._file = file

    def read(self, position: Position, size: int) -> tuple[Seen, bytes] | None:
        """Up to `size` bytes from `position` on, and what lies before them.

        None if this file does not hold `position`. The bytes that prove it are read together with
        those that follow: the file may be emptied and filled again at any moment.
        """
        start = max(0, position.offset - _TAIL)
        before = position.offset - start
        block = self._read(start, before + size)
        seen = Seen(self._read(0, min(_HEAD, position.offset)), block[:before])
        if position.fingerprint not in ("", seen.fingerprint()):
            return None
        return seen, block[before:]

    def holds(self, position: Position) -> bool:
        """Whether `position` is a place in this file."""
        return bool(position.fingerprint) and self.read(position, 0) is not None

    def size(self) -> int:
        """The present size in bytes, unpacked."""
        return self._file.seek(0, os.SEEK_END)

    def modified(self) -> int:
        """When it was last changed, in nanoseconds."""
        if self.generation.archived:
            return self.generation.modified
        return os.fstat(self._file.fileno()).st_mtime_ns

    def is_log(self) -> bool:
        """Whether its content looks like Harmony's log."""
        return b"<Log" in self._read(0, _HEAD)

    def content_key(self) -> str:
        """The same for a file and its packed copy."""
        digest = hashlib.blake2b(self._read(0, _KEY), digest_size=16)
        digest.update(b"%d" % self.size())
        return digest.hexdigest()

    def _read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    def close(self) -> None:
        """Give back the file."""
        self._file.close()


def archived(live: Path, archive: Path, since: int) -> list[Generation]:
    """What was put away and may hold events newer than `since` (nanoseconds), oldest first.

    Besides the archive the directory of the `live` log is looked through, for files that were
    renamed in place. A directory that does not exist holds nothing.
    """
    found = []
    for entry in [*_entries(archive), *_beside(live)]:
        if not entry.name.startswith(".") and entry.is_file():
            with contextlib.suppress(FileNotFoundError):  # moved on since it was listed
                modified = entry.stat().st_mtime_ns
                slack = _COARSE_NS if entry.name.endswith(_PACKED) else 0
                if modified >= since - slack:
                    path = Path(entry.path)
                    found += [Generation(path, modified, True, one) for one in members(path)]
    # Sorting keeps the members of a zip in their order.
    return sorted(found, key=lambda one: (one.modified, natural(one.path.name)))


def open_source(generation: Generation, scratch: Path) -> Source | None:
    """Open a generation; packed ones are unpacked to memory, or into `scratch` if large.

    None if it is gone or no log. Raises OSError, and Incomplete for a packed file
    that is still being written.
    """
    try:
        file = generation.path.open("rb", buffering=0)
    except FileNotFoundError:
        return None
    status = os.fstat(file.fileno())
    if not generation.archived:
        return Source(generation, file, status)
    try:
        source = Source(generation, unpacked(file, generation.member, scratch), status)
    except CannotUnpack as error:
        file.close()
        if time.time() - generation.modified / 1e9 < _PACKING_SECONDS:
            raise Incomplete(str(generation.path)) from error
        log.warning("archived log %s can't be unpacked and is left out", generation.path)
        return None
    except BaseException:
        file.close()
        raise
    if source.is_log():
        return source
    source.close()
    return None


def _beside(live: Path) -> Iterator[os.DirEntry[str]]:
    for entry in _entries(live.parent):
        own = entry.name.startswith(live.stem) and _BESIDE.search(entry.name)
        if own and entry.name != live.name:
            yield entry


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):
        return
