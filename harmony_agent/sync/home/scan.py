"""Looks at Harmony's home: what lies there, and what differs from the base. Blocking.

The traversal is our own: an error must never look like a file that was deleted. What can't be
read (a folder without permission, a symbolic link) is an obstacle, and nothing at or below it
counts as absent.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.parsers import expat

from harmony_agent.core.durable import is_temporary
from harmony_agent.sync.decisions.paths import Ownership, name_problem
from harmony_agent.sync.decisions.states import BaseRow, LocalFile, LocalState, Obstacle
from harmony_agent.sync.home.local_errors import local_errors
from harmony_agent.sync.home.settling import Settling, Stat

__all__ = ["CAREFUL", "FINAL", "UNUSED_HOME", "Care", "Look", "Scanner"]

_CHUNK: Final = 1024 * 1024

_STILL_WRITTEN: Final = Obstacle("is still being written", passing=True)


@dataclass(frozen=True, slots=True)
class Care:
    """How far a file's content is trusted: `settle` waits until a file has come to rest,
    `whole_xml` takes a file ending in .xml only if it parses."""

    settle: bool
    whole_xml: bool


CAREFUL: Final = Care(settle=True, whole_xml=True)
# Harmony is gone: nothing is written any more, but what it left half-written must not travel.
FINAL: Final = Care(settle=False, whole_xml=True)
# Harmony never ran here: what lies there is the image's, as it is.
UNUSED_HOME: Final = Care(settle=False, whole_xml=False)


@dataclass(slots=True)
class _Walk:
    files: dict[str, Stat] = field(default_factory=dict)
    obstacles: dict[str, Obstacle] = field(default_factory=dict)  # files and folders
    residue: list[str] = field(default_factory=list)

    def hides(self, path: str) -> bool:
        """Whether an obstacle keeps us from knowing if `path` exists."""
        while path:
            if path in self.obstacles:
                return True
            path = path.rpartition("/")[0]
        return False


@dataclass(slots=True)
class Look:
    """What a look found: `differing` holds the state of every file that is not as in the base
    (None: it is gone), `touched` the rows whose content is the same under a new stat, `residue`
    temporary files, `files` how many files there are."""

    differing: dict[str, LocalState]
    touched: dict[str, BaseRow]
    residue: list[str]
    files: int


class Scanner:
    """Looks at the files below `home` that `ownership` names.

    `enter` is called with each folder before it is listed, so that a watch set there misses
    nothing. Without `holds_xml` no file is expected to be XML, whatever its name.
    """

    def __init__(
        self,
        home: Path,
        ownership: Ownership,
        *,
        settling: Settling,
        holds_xml: bool,
        enter: Callable[[str], None],
    ) -> None:
        self._home = home
        self._top = os.fspath(home)  # pathlib is slow where there are many files
        self._ownership = ownership
        self._settling = settling
        self._holds_xml = holds_xml
        self._enter = enter

    def look(
        self,
        starts: Collection[str],
        rows: Mapping[str, BaseRow],
        known: Callable[[str], LocalState],
        care: Care,
    ) -> Look:
        """Look at each of `starts` (files or folders; '' is everything) and below.

        `rows` are the base's rows at and below them, `known` gives what was found
        earlier, which spares hashing a file again.

        Raises the errors of `local_errors` if home itself can't be read.
        """
        walk = _Walk()
        for start in starts:
            self._walk(start, walk)
        differing: dict[str, LocalState] = dict(walk.obstacles)
        touched: dict[str, BaseRow] = {}
        for path, status in walk.files.items():
            row = rows.get(path)
            if row is not None and status.matches(row):
                self._settling.forget(path)
                continue
            state = self._examine(path, status, known(path), care)
            if row is not None and isinstance(state, LocalFile) and state.sha256 == row.sha256:
                touched[path] = BaseRow(
                    row.sha256, state.size, state.mtime_ns, state.inode, row.token
                )
            else:
                differing[path] = state
        if "" in starts:
            self._settling.retain(walk.files)
        for path in rows:
            if path not in walk.files and not walk.hides(path):
                differing[path] = None
        return Look(differing, touched, walk.residue, len(walk.files))

    def _walk(self, start: str, walk: _Walk) -> None:
        """Note what lies at `start` and below it."""
        if not start:
            with local_errors(self._home):
                self._list("", walk)
            return
        if not self._ownership.concerns(start):
            return
        try:
            status = os.lstat(self._home / start)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            walk.obstacles[start] = _unreadable(error)
            return
        self._note(start, status, walk)

    def _list(self, folder: str, walk: _Walk) -> None:
        self._enter(folder)
        with os.scandir(self._home / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if is_temporary(entry.name):
                    walk.residue.append(path)
                    continue
                try:
                    self._note(path, entry.stat(follow_symlinks=False), walk)
                except FileNotFoundError:
                    pass  # deleted between the listing and the look

    def _note(self, path: str, status: os.stat_result, walk: _Walk) -> None:
        if stat.S_ISDIR(status.st_mode):
            if self._ownership.descends(path):
                try:
                    self._list(path, walk)
                except FileNotFoundError:
                    pass  # deleted between the listing and the look
                except OSError as error:
                    walk.obstacles[path] = _unreadable(error)
        elif not stat.S_ISREG(status.st_mode):
            if self._ownership.concerns(path):
                kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no regular file"
                reason = f"is {kind}, which is not followed; put a copy there"
                walk.obstacles[path] = Obstacle(reason)
        elif self._ownership.owns(path):
            if (problem := name_problem(path)) is not None:
                walk.obstacles[path] = Obstacle(problem)
            else:
                walk.files[path] = Stat.of(status)

    def _examine(
        self, path: str, status: Stat, known: LocalState, care: Care
    ) -> LocalFile | Obstacle:
        if isinstance(known, LocalFile) and status.matches(known):
            return known
        if care.settle and not self._settling.is_settled(path, status):
            return _STILL_WRITTEN
        is_xml = self._holds_xml and care.whole_xml and path.endswith(".xml")
        state = self._read(path, status, is_xml=is_xml)
        if isinstance(state, LocalFile):
            self._settling.forget(path)
        return state

    def _read(self, path: str, status: Stat, *, is_xml: bool) -> LocalFile | Obstacle:
        """Hash the file; what changes meanwhile, or breaks off, is still being written."""
        parser = expat.ParserCreate() if is_xml else None
        sha256 = hashlib.sha256()
        try:
            handle = os.open(f"{self._top}/{path}", os.O_RDONLY)
            try:
                while chunk := os.read(handle, min(_CHUNK, status.size + 1)):
                    sha256.update(chunk)
                    if parser is not None:
                        parser.Parse(chunk, False)
                if parser is not None:
                    parser.Parse(b"", True)
                if Stat.of(os.fstat(handle)) != status:
                    return _STILL_WRITTEN
            finally:
                os.close(handle)
        except expat.ExpatError as error:
            return Obstacle(f"is not whole XML ({error}); waits until it is")
        except FileNotFoundError:
            return _STILL_WRITTEN
        except OSError as error:
            return _unreadable(error)
        return LocalFile(sha256.hexdigest(), status.size, status.mtime_ns, status.inode)


def _unreadable(error: OSError) -> Obstacle:
    return Obstacle(f"can't be read: {error.strerror}; give user {os.geteuid()} access to it")
