"""Which of this node's events are parked, and up to where in the log."""

import json
import sqlite3
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
_FIRST: Final = "SELECT after FROM segments WHERE NOT wanted ORDER BY number LIMIT 1"
_LAST: Final = "SELECT after FROM segments ORDER BY number DESC LIMIT 1"
_DELIVERED: Final = """
SELECT number, path, token, events FROM segments
WHERE number <= ? AND NOT wanted ORDER BY number LIMIT ?
"""
_WANTED: Final = """
SELECT number, path, token, events FROM segments WHERE wanted ORDER BY number LIMIT ?
"""
_UNWANTED: Final = """
SELECT number, path, token, events FROM segments WHERE NOT wanted ORDER BY number
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A segment this node parked: its number (they grow), path, version and count of events."""

    number: int
    path: str
    token: Token
    events: int


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
        self.events = 0
        """How many events all segments hold, as far as is known; right after each call."""

    async def load(self) -> None:
        """Learn what there is."""
        await self._workers.run(_LIMIT, self._load)

    async def cursor(self) -> Position | None:
        """The place in the log after the last parked event; None if nothing is parked."""
        return await self._workers.run(_LIMIT, self._place, _LAST)

    async def beginning(self) -> Position | None:
        """The place in the log after the first segment that is not wanted; None without one."""
        return await self._workers.run(_LIMIT, self._place, _FIRST)

    async def add(self, path: str, token: Token, events: int, after: Position) -> None:
        """The segment `path` is parked, and reaches up to `after`."""
        await self._workers.run(_LIMIT, self._add, path, token, events, after)

    async def delivered(self, passed: int, most: int) -> list[Row]:
        """Segments up to number `passed` which are not wanted: the log had it all."""
        return await self._workers.run(_LIMIT, self._rows, _DELIVERED, (passed, most))

    async def wanted(self, most: int) -> list[Row]:
        """Segments that have to be delivered from the repository."""
        return await self._workers.run(_LIMIT, self._rows, _WANTED, (most,))

    async def want_all(self) -> None:
        """The log has lost something: nobody knows what of it is parked."""
        await self._workers.run(_LIMIT, self._want_all)

    async def paths(self) -> set[str]:
        """All that this node parked and that is not wanted."""
        rows = await self._workers.run(_LIMIT, self._rows, _UNWANTED, ())
        return {row.path for row in rows}

    async def remove(self, row: Row) -> None:
        """The segment is deleted."""
        await self._workers.run(_LIMIT, self._remove, row.number)

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
            count = self._open().execute("SELECT max(number), sum(events) FROM segments")
            newest, events = count.fetchone()
        self.newest, self.events = max(self.newest, newest or 0), events or 0

    def _place(self, query: str) -> Position | None:
        with translated(self._path):
            row = self._open().execute(query).fetchone()
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
        return [Row(number, path, Token(token), events) for number, path, token, events in rows]

    def _want_all(self) -> None:
        with translated(self._path):
            self._open().execute("UPDATE segments SET wanted = 1")

    def _remove(self, number: int) -> None:
        with translated(self._path):
            self._open().execute("DELETE FROM segments WHERE number = ?", (number,))
        self._load()
