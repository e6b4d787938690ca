"""Which of this node's events are parked, and up to where in the log."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harmony_agent.core.threads import Workers
from harmony_agent.logs.database import open_database, translated
from harmony_agent.logs.sources.position import Position
from harmony_agent.repositories.interface import Token

__all__ = ["Ledger", "Row"]

_LIMIT: Final = 30.0  # seconds for a call; a local disk

# `wanted`: the log has lost what the segment holds, so it has to be delivered from the repository.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS segments (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    token TEXT NOT NULL,
    events INTEGER NOT NULL,
    after TEXT NOT NULL,
    wanted INTEGER NOT NULL DEFAULT 0
);
"""
_TOTALS: Final = "SELECT ifnull(max(number), 0), count(*), ifnull(sum(events), 0) FROM segments"
_LAST: Final = "SELECT after FROM segments WHERE NOT wanted ORDER BY number DESC LIMIT 1"
_UNWANTED: Final = "SELECT path FROM segments WHERE NOT wanted"
_WANT: Final = "UPDATE segments SET wanted = 1 WHERE number = ?"
_REMOVE: Final = "DELETE FROM segments WHERE number = ?"
_DELIVERED: Final = """
SELECT number, path, token, events, after FROM segments
WHERE number <= ? AND NOT wanted ORDER BY number LIMIT ?
"""
_WANTED: Final = """
SELECT number, path, token, events, after FROM segments WHERE wanted ORDER BY number LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A segment this node parked: its number (they grow), path, version, count of events, and the
    place in the log after them."""

    number: int
    path: str
    token: Token
    events: int
    after: Position


class Ledger:
    """`parked.db` in the state directory. If it is lost, so is only the knowledge that the log
    holds these events too: they are delivered twice, under the same ids.

    All methods but `close` raise Unavailable if the database can't be used.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "parked.db"
        self._workers = Workers("parked-ledger", 1)
        self._connection: sqlite3.Connection | None = None
        self.newest = 0
        """The number of the last segment, as far as is known; right after `load` and `add`."""
        self.segments = 0
        """How many there are, as far as is known; right after each call."""
        self.events = 0
        """How many events they hold."""

    async def load(self) -> None:
        """Learn what there is."""
        await self._workers.run(_LIMIT, self._load)

    async def cursor(self) -> Position | None:
        """The place in the log after the last segment that is not wanted; None without one."""
        return await self._workers.run(_LIMIT, self._cursor)

    async def add(self, path: str, token: Token, events: int, after: Position) -> None:
        """The segment `path` is parked, and reaches up to `after`."""
        await self._workers.run(_LIMIT, self._add, path, token, events, after)

    async def delivered(self, passed: int, most: int) -> list[Row]:
        """Segments up to number `passed` which are not wanted: the log had it all."""
        return await self._workers.run(_LIMIT, self._rows, _DELIVERED, (passed, most))

    async def wanted(self, most: int) -> list[Row]:
        """Segments that have to be delivered from the repository."""
        return await self._workers.run(_LIMIT, self._rows, _WANTED, (most,))

    async def want(self, rows: Sequence[Row]) -> None:
        """The log has lost what these hold."""
        await self._workers.run(_LIMIT, self._change, _WANT, rows)

    async def paths(self) -> set[str]:
        """All that this node parked and that is not wanted."""
        return await self._workers.run(_LIMIT, self._paths)

    async def remove(self, rows: Sequence[Row]) -> None:
        """These segments are deleted."""
        await self._workers.run(_LIMIT, self._change, _REMOVE, rows)

    async def close(self) -> None:
        """Close the database; idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._workers.run(_LIMIT, connection.close)
        self._workers.close()

    # The rest runs in the thread.

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_database(self._path, _SCHEMA, synchronous="NORMAL")
        return self._connection

    def _load(self) -> None:
        with translated(self._path):
            found = self._open().execute(_TOTALS).fetchone()
        self.newest, self.segments, self.events = max(self.newest, found[0]), found[1], found[2]

    def _cursor(self) -> Position | None:
        with translated(self._path):
            row = self._open().execute(_LAST).fetchone()
        return Position.from_json(json.loads(row[0])) if row else None

    def _add(self, path: str, token: Token, events: int, after: Position) -> None:
        with translated(self._path):
            # A segment parked anew after a lost answer gets a new number: it reaches as far.
            self._open().execute(
                "INSERT OR REPLACE INTO segments (path, token, events, after) VALUES (?, ?, ?, ?)",
                (path, token, events, json.dumps(after.to_json())),
            )
        self._load()

    def _rows(self, query: str, values: tuple[int, ...]) -> list[Row]:
        with translated(self._path):
            rows = self._open().execute(query, values).fetchall()
        return [
            Row(number, path, Token(token), events, Position.from_json(json.loads(after)))
            for number, path, token, events, after in rows
        ]

    def _paths(self) -> set[str]:
        with translated(self._path):
            return {row[0] for row in self._open().execute(_UNWANTED)}

    def _change(self, statement: str, rows: Sequence[Row]) -> None:
        with translated(self._path):
            self._open().executemany(statement, [(row.number,) for row in rows])
        self._load()
