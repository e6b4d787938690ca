"""SQLite files of the state directory: opened alike, and set aside when they are broken."""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from harmony_agent.core.errors import Unavailable

__all__ = ["is_damage", "open_database", "set_aside", "translated"]

log = logging.getLogger(__name__)

_BUSY_SECONDS = 5.0


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """The one seam to sqlite3: its errors as Unavailable, with what to do."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise Unavailable(
            f"{path} can't be used: {error}; see that its volume is writable and not full"
        ) from error


def open_database(
    path: Path, schema: str, *, synchronous: Literal["NORMAL", "FULL"]
) -> sqlite3.Connection:
    """Open `path` in WAL mode with `schema` (idempotent statements) in place.

    A file that is no database, or a damaged one, is renamed to `<name>.broken-<seconds>` and a new
    one begun, with an error in the log. Raises sqlite3.Error (disk full, read-only) and OSError.
    """
    try:
        return _open(path, schema, synchronous)
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        set_aside(path, error)
        return _open(path, schema, synchronous)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken, so that trying again is of no use."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits say more about it
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def set_aside(path: Path, error: sqlite3.Error) -> None:
    """Rename a damaged database, so that a new one can begin. Raises OSError."""
    aside = path.with_name(f"{path.name}.broken-{int(time.time())}")
    log.error("%s is damaged (%s): set aside as %s and begun anew", path, error, aside.name)
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _open(path: Path, schema: str, synchronous: str) -> sqlite3.Connection:
    # A connection is used by the threads of one pool only, one at a time.
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA journal_size_limit=8388608")
        connection.executescript(schema)
        path.chmod(0o600)
    except BaseException:
        connection.close()
        raise
    return connection
