"""The base: what home and repository agreed on last, in SQLite, one row per file.

Losing a row is harmless (both sides are compared by content then); a row that is ahead of the
files is not. Hence synchronous=FULL, and rows are written only after the file they speak of. One
database per side, so that neither waits for the other's commits.
"""

import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from harmony_agent.core.database import Database, transaction
from harmony_agent.core.errors import Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.sync.decisions.states import BaseRow

__all__ = ["Base"]

P = ParamSpec("P")
T = TypeVar("T")
_Query = tuple[str, tuple[object, ...]]  # a statement and its values
_Change = tuple[str, Sequence[tuple[object, ...]]]  # a statement and its values, row by row

_LIMIT: Final = 60.0  # seconds for one statement; a local disk that needs longer is broken
# A commit is a disk sync, which takes the disk from whoever else needs it: transfers that follow
# each other closely wait for company.
_COMPANY: Final = 64  # changes that are worth a commit at once
_PATIENCE: Final = 0.05  # seconds to wait for so many
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS base (
    path TEXT PRIMARY KEY, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, token TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (path TEXT PRIMARY KEY, sha256 TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sendings (
    path TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (path, sha256)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_PUT: Final = "INSERT OR REPLACE INTO base VALUES (?, ?, ?, ?, ?, ?)"
_COLUMNS: Final = "path, sha256, size, mtime_ns, inode, token"


class Base:
    """One side's base. All methods raise Unavailable if the database can't be used now."""

    def __init__(self, state_dir: Path, side: str, workers: Workers) -> None:
        """`workers` must have one thread only: it keeps the statements in order."""
        # A base that was emptied while it is in use would be believed: hence not renewable. Its
        # rows are read once a minute: hence a small cache.
        self._database = Database(
            state_dir / f"sync-{side}.db",
            _SCHEMA,
            synchronous="FULL",
            renewable=False,
            checked=True,
            cache=1024,
        )
        self._workers = workers
        self._waiting: list[tuple[list[_Change], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    @property
    def path(self) -> Path:
        """Where the database lies."""
        return self._database.path

    async def open(self) -> None:
        """Open it; a damaged database is set aside and told, and an empty one takes its place."""
        if not self._database.is_open:
            await self._run(self._open)

    async def close(self) -> None:
        """Write what waits and close."""
        if self._writer is not None:
            with contextlib.suppress(Unavailable):
                await self._writer
        if self._database.is_open:
            await self._run(self._database.close)

    async def identity(self) -> str:
        """What tells this base from any other."""
        return str(await self.meta("identity"))

    async def meta(self, key: str) -> str | None:
        """A remembered word."""
        return await self._run(self._meta, key)

    async def set_meta(self, key: str, value: str) -> None:
        """Remember a word."""
        statement = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
        await self._run(self._write, [(statement, [(key, value)])])

    async def reset(self) -> str:
        """Forget everything and take a new identity; returns it."""
        identity = uuid.uuid4().hex
        await self._run(
            self._write,
            [
                ("DELETE FROM base", [()]),
                ("DELETE FROM held", [()]),
                ("DELETE FROM sendings", [()]),
                ("DELETE FROM meta", [()]),
                ("INSERT INTO meta VALUES ('identity', ?)", [(identity,)]),
            ],
        )
        return identity

    async def count(self) -> int:
        """How many files are in step, as far as is known."""
        return int((await self._run(self._rows, "SELECT count(*) FROM base"))[0][0])

    async def all(self) -> dict[str, BaseRow]:
        """Every row by path."""
        return await self._run(self._by_path, [(f"SELECT {_COLUMNS} FROM base", ())])  # noqa: S608 - our own constant

    async def under(self, paths: Iterable[str]) -> dict[str, BaseRow]:
        """The rows of these files, and of everything below these folders."""
        # '0' follows '/' in the order of bytes: the range is exactly the folder's content.
        statement = f"SELECT {_COLUMNS} FROM base WHERE path = ? OR (path >= ? AND path < ?)"  # noqa: S608 - our own constant
        return await self._run(self._by_path, [(statement, (p, f"{p}/", f"{p}0")) for p in paths])

    async def put(self, path: str, row: BaseRow) -> None:
        """Remember that `path` is in step as `row` says; returns once that is on the disk."""
        await self.put_all({path: row})

    async def put_all(self, rows: Mapping[str, BaseRow]) -> None:
        """`put` many files at once."""
        await self._commit([_put(rows), *_settled(rows)])

    async def touch_all(self, rows: Mapping[str, BaseRow]) -> None:
        """Remember the new stat of files whose content is as it was."""
        await self._commit([_put(rows)])

    async def intend(self, files: Mapping[str, str]) -> None:
        """Remember that these contents (hash by path) are about to be sent, besides earlier ones of
        the same file; until a row says what came of it, such a content in the repository is ours.
        Returns once that is on the disk."""
        if files:
            statement = "INSERT OR IGNORE INTO sendings VALUES (?, ?)"
            await self._run(self._write, [(statement, [*files.items()])])

    async def sent(self) -> dict[str, set[str]]:
        """What was about to be sent, without a word of what came of it: content hashes by path."""
        found: dict[str, set[str]] = {}
        for path, sha256 in await self._run(self._rows, "SELECT path, sha256 FROM sendings"):
            found.setdefault(path, set()).add(sha256)
        return found

    async def remove(self, path: str) -> None:
        """Forget `path`; returns once that is on the disk."""
        await self._commit([("DELETE FROM base WHERE path = ?", [(path,)]), *_settled([path])])

    async def held(self) -> dict[str, str]:
        """Files that only home has and that must not travel: content hash by path."""
        return dict(await self._run(self._rows, "SELECT path, sha256 FROM held"))

    async def hold(self, files: dict[str, str]) -> None:
        """Keep these files (content hash by path) from traveling until their content changes, or
        until `put` or `remove` says what became of them."""
        statement = "INSERT OR REPLACE INTO held VALUES (?, ?)"
        await self._run(self._write, [(statement, [*files.items()])])

    async def _commit(self, changes: list[_Change]) -> None:
        """Changes of concurrent transfers share one transaction: a commit costs a disk sync."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((changes, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_waiting(), name="sync base")
        await done

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    await self._run(self._write, [one for many, _ in batch for one in many])
                except Exception as error:  # noqa: BLE001 - whoever waits has to learn of it
                    for _, done in batch:
                        if not done.done():
                            done.set_exception(error)
                else:
                    for _, done in batch:
                        if not done.done():
                            done.set_result(None)
                if 0 < sum(_rows(changes) for changes, _ in self._waiting) < _COMPANY:
                    await asyncio.sleep(_PATIENCE)
        finally:
            self._writer = None

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._workers.run(_LIMIT, call, *args, **kwargs)

    # What follows runs in the worker thread.

    def _open(self) -> None:
        with self._database.use() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO meta VALUES ('identity', ?)", (uuid.uuid4().hex,)
            )

    @contextlib.contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        assert self._database.is_open, "the base is not open"
        with self._database.use() as connection:
            yield connection

    def _meta(self, key: str) -> str | None:
        rows = self._rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def _rows(self, statement: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._used() as connection:
            return connection.execute(statement, values).fetchall()

    def _by_path(self, queries: list[_Query]) -> dict[str, BaseRow]:
        with self._used() as connection:
            return {
                row[0]: BaseRow(*row[1:])
                for statement, values in queries
                for row in connection.execute(statement, values)
            }

    def _write(self, changes: list[_Change]) -> None:
        with self._used() as connection, transaction(connection):
            for statement, rows in changes:
                connection.executemany(statement, rows)


def _rows(changes: Iterable[_Change]) -> int:
    return max(len(rows) for _, rows in changes)


def _put(rows: Mapping[str, BaseRow]) -> _Change:
    return _PUT, [
        (path, row.sha256, row.size, row.mtime_ns, row.inode, row.token)
        for path, row in rows.items()
    ]


def _settled(paths: Iterable[str]) -> list[_Change]:
    rows = [(path,) for path in paths]
    return [(f"DELETE FROM {table} WHERE path = ?", rows) for table in ("sendings", "held")]  # noqa: S608 - our own names
