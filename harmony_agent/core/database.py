"""SQLite files of the state directory: opened alike, and set aside when they are damaged."""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Concatenate, Final, Literal, ParamSpec, TypeVar

from harmony_agent.core.errors import Unavailable
from harmony_agent.core.threads import Workers

__all__ = ["Database", "DatabaseThread", "transaction"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_BUSY_SECONDS: Final = 5.0
_MOST_JOURNAL: Final = 8 * 1024 * 1024  # bytes of the WAL that are kept once it is written back
_CALL_LIMIT: Final = 30.0  # seconds; a local disk


class Database:
    """One file, opened in WAL mode at its first use. Blocking, to be called from the threads of
    one pool, one at a time.

    A file that is no database, or a damaged one, is renamed when it is opened, with an error in the
    log, and an empty one takes its place. If it is found damaged later, a `renewable` one is set
    aside as well, so that the next use begins anew; another is left as it is, for whoever must not
    lose rows without noticing.

    Where several connections are `shared`, each leaves a file that another has set aside.

    With synchronous=FULL what is committed withstands a power cut; with NORMAL a power cut may take
    the last commits back. `checked` reads all of it when it is opened, for rows that must not be
    wrong. `cache` is in KiB (None: SQLite's own). `schema` is of idempotent statements.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        synchronous: Literal["NORMAL", "FULL"],
        renewable: bool = True,
        shared: bool = False,
        checked: bool = False,
        cache: int | None = None,
    ) -> None:
        self.path = path
        self._schema = schema
        self._synchronous = synchronous
        self._renewable = renewable
        self._shared = shared
        self._checked = checked
        self._cache = cache
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None  # which file the connection is to

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """An open connection, each statement a transaction of its own. Raises Unavailable if the
        database can't be used: this is the one seam to sqlite3's errors."""
        try:
            try:
                if self._shared and self._opened != self._present():
                    self.close()
                if self._connection is None:
                    self._connection = self._open()
                yield self._connection
            except sqlite3.Error as error:
                if self._renewable and _is_damage(error):
                    self._set_aside(error)
                raise
        except (sqlite3.Error, OSError) as error:
            raise self._translated(error) from error

    def interrupt(self) -> None:
        """End the statement that runs, from any thread."""
        if self._connection is not None:
            self._connection.interrupt()

    def close(self) -> None:
        """Close the connection; idempotent. The next use opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _present(self) -> tuple[int, int] | None:
        """Which file bears the name now."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _open(self) -> sqlite3.Connection:
        self._opened = self._present()
        try:
            connection = self._connect()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise  # locked, full, no permission: the database itself may be sound
            self._set_aside(error)
            connection = self._connect()
        self._opened = self._present()
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            connection.execute(f"PRAGMA journal_size_limit={_MOST_JOURNAL}")
            if self._cache is not None:
                connection.execute(f"PRAGMA cache_size=-{self._cache}")
            if self._checked:
                _check(connection)
            connection.executescript(self._schema)
            self.path.chmod(0o600)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self, error: sqlite3.Error) -> None:
        """Rename the damaged file, so that a new one can begin. Raises OSError."""
        self.close()
        if self._opened != self._present():
            return  # another connection was first: that is a new one
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}")
        log.error(
            "%s is damaged (%s): it is set aside and begun anew",
            self.path,
            error,
            extra={"file": str(aside)},
        )
        self.path.rename(aside)
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _translated(self, error: Exception) -> Unavailable:
        if _is_damage(error) and not self._renewable:
            return Unavailable(
                f"{self.path} is damaged ({error}); restart the agent: it sets the file aside and "
                "begins anew"
            )
        return Unavailable(
            f"{self.path} can't be used: {error}; see that its volume is writable and not full"
        )


class DatabaseThread:
    """A database with a thread of its own."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._workers = Workers(name, 1)

    async def run(
        self,
        call: Callable[Concatenate[sqlite3.Connection, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The result of `call` with an open connection. Raises Unavailable if the database can't
        be used, OutcomeUnknown after 30 s."""

        def in_thread() -> T:
            with self._database.use() as connection:
                return call(connection, *args, **kwargs)

        return await self._workers.run(_CALL_LIMIT, in_thread)

    async def close(self) -> None:
        """Close database and thread; idempotent."""
        if self._database.is_open:
            await self._workers.run(_CALL_LIMIT, self._database.close)
        self._workers.close()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All statements within are kept together or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends some failed transactions itself
            connection.execute("ROLLBACK")
        raise


def _check(connection: sqlite3.Connection) -> None:
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        error = sqlite3.DatabaseError(verdict)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _is_damage(error: Exception) -> bool:
    """Whether the file itself is broken, so that trying again is of no use."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits say more about it
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
