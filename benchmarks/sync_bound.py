"""The bound of benchmarks/sync_speed.py: what a Python program needs at least for a file.

    python -m benchmarks.sync_bound SOURCE TARGET DATABASE

One thread does what a first push or pull into a folder can't do without, and nothing else: look at
the file, read and hash it, write it beside its name, have 128 of them on the disk, give each its
name where none is, and note its hash in SQLite. No event loop, no errors, no other party.
"""

import ctypes
import hashlib
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["command"]

_TOGETHER: Final = 128
_Row = tuple[str, str, int, int, int, str]


def command(source: Path, target: Path, database: Path) -> list[str]:
    """The command line that copies `source` to the new folder `target`."""
    return [sys.executable, "-m", "benchmarks.sync_bound", *map(str, (source, target, database))]


def copy(source: str, target: str, database: str) -> None:
    """Have all files of `source` in `target`, on the disk and noted."""
    base = sqlite3.connect(database, isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE base (path TEXT PRIMARY KEY, a, b, c, d, e) WITHOUT ROWID")
    for folder, names in _folders(source):
        there = f"{target}{folder.removeprefix(source)}"
        os.makedirs(there)  # noqa: PTH103 - the bound of what strings can do
        for start in range(0, len(names), _TOGETHER):
            rows = _copy_together(folder, there, names[start : start + _TOGETHER])
            base.execute("BEGIN IMMEDIATE")
            base.executemany("INSERT INTO base VALUES (?, ?, ?, ?, ?, ?)", rows)
            base.execute("COMMIT")
    base.close()


def _folders(top: str) -> Iterator[tuple[str, list[str]]]:
    """Every folder with its files, each of which is looked at."""
    names, folders = [], []
    with os.scandir(top) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.stat(follow_symlinks=False).st_size:
                names.append(entry.name)
    yield top, names
    for folder in folders:
        yield from _folders(folder)


def _copy_together(source: str, target: str, names: list[str]) -> list[_Row]:
    """Copy files from one folder to another; a row about each."""
    from_folder = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    to_folder = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    written = []
    for name in names:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=from_folder)
        size = os.fstat(handle).st_size
        data = os.read(handle, size + 1)
        os.fstat(handle)  # still the same
        os.close(handle)
        beside = f".tmp-{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        handle = os.open(beside, flags, 0o640, dir_fd=to_folder)
        os.write(handle, data)
        written.append((name, beside, handle, hashlib.sha256(data).hexdigest()))
    if names:
        ctypes.CDLL(None).syncfs(to_folder)
    rows = []
    for name, beside, handle, sha256 in written:
        os.link(beside, name, src_dir_fd=to_folder, dst_dir_fd=to_folder)
        os.unlink(beside, dir_fd=to_folder)
        found = os.fstat(handle)
        os.close(handle)
        token = f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}"
        path = f"{target}/{name}"
        rows.append((path, sha256, found.st_size, found.st_mtime_ns, found.st_ino, token))
    os.fsync(to_folder)
    os.close(from_folder)
    os.close(to_folder)
    return rows


if __name__ == "__main__":
    copy(*sys.argv[1:4])
