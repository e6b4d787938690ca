"""Folders below a root, held open while many files in them are worked on. Blocking."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["OpenFolders", "read_small"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY
_BELOW: Final = _FOLDER | os.O_NOFOLLOW


class OpenFolders:
    """Each folder is found once, not once for every step with every file, and no link on the way
    to it is followed. For one thread; `close` it in the end."""

    def __init__(self, root: Path, make: Callable[[str], None] | None = None) -> None:
        """`make` makes a folder that is missing, and those above it."""
        self._root = os.fspath(root)
        self._make = make
        self._handles: dict[str, int] = {}

    def handle(self, folder: str) -> int:
        """The open folder (relative to the root, '' for the root itself).

        Raises OSError: FileNotFoundError if it is missing and not made, NotADirectoryError if a
        link or a file is on the way.
        """
        known = self._handles.get(folder)
        if known is None:
            known = self._handles[folder] = self._found_or_made(folder)
        return known

    def sync(self, folder: str) -> None:
        """Make names that are new in it survive a power cut; raises OSError."""
        os.fsync(self.handle(folder))

    def close(self) -> None:
        """Close all of them."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()

    def _found_or_made(self, folder: str) -> int:
        try:
            return self._find(folder)
        except FileNotFoundError:
            if self._make is None:
                raise
            self._make(folder)
            return self._find(folder)

    def _find(self, folder: str) -> int:
        found = os.open(self._root, _FOLDER)
        for name in filter(None, folder.split("/")):
            # Those on the way are closed at once: a handle for each file's folder is enough.
            above = found
            try:
                found = os.open(name, _BELOW, dir_fd=above)
            finally:
                os.close(above)
        return found


def read_small(folder: int, name: str) -> tuple[bytes, os.stat_result] | None:
    """The whole content of a file in the open `folder`, and the stat of exactly that content; None
    if it was written to meanwhile. Raises OSError, with ELOOP for a symbolic link."""
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        before = os.fstat(handle)
        data = os.read(handle, before.st_size)
        after = os.fstat(handle)
    finally:
        os.close(handle)
    unchanged = (
        len(data) == before.st_size == after.st_size
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
    )
    return (data, after) if unchanged else None
