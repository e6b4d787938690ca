"""Which of this node's events are parked, and up to where in the log."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harmony_agent.core.database import Database, DatabaseThread, transaction
from harmony_agent.logs.sources.position import Position
from harmony_agent.repositories.interface import Token

__all__ = ["Ledger", "Row"]

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
_ADD: Final = "INSERT OR REPLACE INTO segments (path, token, events, after) VALUES (?, ?, ?, ?)"
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
        # Not renewable: numbers would begin anew, below those that are known to be delivered.
        path = state_dir / "parked.db"
        database = Database(path, _SCHEMA, synchronous="NORMAL", renewable=False)
        self._database = DatabaseThread(database, "parked-ledger")
        self.newest = 0
        """The number of the last segment, as far as is known; right after `load` and `add`."""
        self.segments = 0
        """How many there are, as far as is known; right after each call."""
        self.events = 0
        """How many events they hold."""

    async def load(self) -> None:
        """Learn what there is."""
        await self._database.run(self._load)

    async def cursor(self) -> Position | None:
        """The place in the log after the last segment that is not wanted; None without one."""
        return await self._database.run(_cursor)

    async def add(self, path: str, token: Token, events: int, after: Position) -> None:
        """The segment `path` is parked, and reaches up to `after`."""
        await self._database.run(self._add, path, token, events, after)

    async def delivered(self, passed: int, most: int) -> list[Row]:
        """Segments up to number `passed` which are not wanted: the log had it all."""
        return await self._database.run(_rows, _DELIVERED, (passed, most))

    async def wanted(self, most: int) -> list[Row]:
        """Segments that have to be delivered from the repository."""
        return await self._database.run(_rows, _WANTED, (most,))

    async def want(self, rows: Sequence[Row]) -> None:
        """The log has lost what these hold."""
        await self._database.run(self._change, _WANT, rows)

    async def paths(self) -> set[str]:
        """All that this node parked and that is not wanted."""
        return await self._database.run(_paths)

    async def remove(self, rows: Sequence[Row]) -> None:
        """These segments are deleted."""
        await self._database.run(self._change, _REMOVE, rows)

    async def close(self) -> None:
        """Close the database; idempotent."""
        await self._database.close()

    # The rest runs in the thread.

    def _load(self, connection: sqlite3.Connection) -> None:
        found = connection.execute(_TOTALS).fetchone()
        self.newest, self.segments, self.events = max(self.newest, found[0]), found[1], found[2]

    def _add(
        self, connection: sqlite3.Connection, path: str, token: Token, events: int, after: Position
    ) -> None:
        # A segment parked anew after a lost answer gets a new number: it reaches as far.
        connection.execute(_ADD, (path, token, events, json.dumps(after.to_json())))
        self._load(connection)

    def _change(self, connection: sqlite3.Connection, statement: str, rows: Sequence[Row]) -> None:
        with transaction(connection):
            connection.executemany(statement, [(row.number,) for row in rows])
        self._load(connection)


def _cursor(connection: sqlite3.Connection) -> Position | None:
    row = connection.execute(_LAST).fetchone()
    return Position.from_json(json.loads(row[0])) if row else None


def _rows(connection: sqlite3.Connection, query: str, values: tuple[int, ...]) -> list[Row]:
    return [
        Row(number, path, Token(token), events, Position.from_json(json.loads(after)))
        for number, path, token, events, after in connection.execute(query, values)
    ]


def _paths(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute(_UNWANTED)}
