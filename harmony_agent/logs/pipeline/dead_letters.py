"""Events that a log system will never take: kept in a database for a person to look at."""

import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harmony_agent.core.database import Database, DatabaseThread, transaction
from harmony_agent.logs import metrics
from harmony_agent.logs.event import Event
from harmony_agent.logs.systems.encoding import to_json
from harmony_agent.logs.systems.interface import DeadLetter

__all__ = ["DeadLetters", "Kept"]

log = logging.getLogger(__name__)

_MOST_BYTES: Final = 64 * 1024 * 1024  # of events as JSON

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kept REAL NOT NULL,
    reason TEXT NOT NULL,
    event BLOB NOT NULL
);
"""
_KEEP: Final = (
    "INSERT INTO letters (id, kept, reason, event) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET reason = excluded.reason"
)
_NEWEST: Final = "SELECT event, reason, kept FROM letters ORDER BY number DESC LIMIT ?"
_FIND: Final = (
    "SELECT event, reason, kept FROM letters "
    "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY number"
)
_IDS: Final = "SELECT id FROM letters ORDER BY number"
_REMOVE: Final = "DELETE FROM letters WHERE id IN (SELECT value FROM json_each(?))"
_DROP_OLDEST: Final = """
DELETE FROM letters WHERE number IN (
    SELECT number FROM (
        SELECT number, sum(length(event)) OVER (ORDER BY number DESC) AS size FROM letters
    ) WHERE size > ?
) AND number < (SELECT max(number) FROM letters)
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A dead letter that was kept, at `kept` (seconds since the epoch)."""

    event: Event
    reason: str
    kept: float


class DeadLetters:
    """`dead-letters.db` in the state directory: each event once, with the latest reason.

    Beyond 64 MiB the oldest make room, which is counted and told. All methods but `close` raise
    Unavailable if the database can't be used.
    """

    def __init__(self, state_dir: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        database = Database(state_dir / "dead-letters.db", _SCHEMA, synchronous="FULL")
        self._database = DatabaseThread(database, "dead-letters")
        self._most_bytes = most_bytes
        self.count = 0
        """How many there are, as far as is known; right after `load` and each other call."""
        self.dropped = 0

    async def load(self) -> None:
        """Learn how many there are."""
        await self._database.run(self._count)
        metrics.DEAD_KEPT.set(self.count)

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Keep `letters` durably."""
        dropped = await self._database.run(self._insert, letters)
        metrics.DEAD.inc(len(letters))
        metrics.DEAD_KEPT.set(self.count)
        if dropped:
            self.dropped += dropped
            metrics.DEAD_DROPPED.inc(dropped)
            log.error("%d of the oldest dead letters are dropped to make room", dropped)

    async def newest(self, most: int) -> list[Kept]:
        """The last `most` that were kept, oldest first."""
        return await self._database.run(_newest, most)

    async def find(self, ids: Sequence[str]) -> list[Kept]:
        """Those of the events `ids` that are there, oldest first."""
        return await self._database.run(_find, ids)

    async def ids(self) -> list[str]:
        """The ids of all events, oldest first."""
        return await self._database.run(_ids)

    async def remove(self, ids: Sequence[str]) -> int:
        """Forget the events `ids`; how many of them there were."""
        removed = await self._database.run(self._remove, ids)
        metrics.DEAD_KEPT.set(self.count)
        return removed

    async def close(self) -> None:
        """Close the database; idempotent."""
        await self._database.close()

    # The rest runs in the thread.

    def _count(self, connection: sqlite3.Connection) -> None:
        self.count = connection.execute("SELECT count(*) FROM letters").fetchone()[0]

    def _insert(self, connection: sqlite3.Connection, letters: Sequence[DeadLetter]) -> int:
        kept = time.time()
        rows = [
            (letter.event.id, kept, letter.reason, to_json(letter.event.to_json()))
            for letter in letters
        ]
        with transaction(connection):
            connection.executemany(_KEEP, rows)
            dropped = connection.execute(_DROP_OLDEST, (self._most_bytes,)).rowcount
        self._count(connection)
        return dropped

    def _remove(self, connection: sqlite3.Connection, ids: Sequence[str]) -> int:
        removed = connection.execute(_REMOVE, (_array(ids),)).rowcount
        self._count(connection)
        return removed


def _newest(connection: sqlite3.Connection, most: int) -> list[Kept]:
    return _kept(connection.execute(_NEWEST, (most,)))[::-1]


def _find(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Kept]:
    return _kept(connection.execute(_FIND, (_array(ids),)))


def _ids(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute(_IDS)]


def _kept(rows: Iterable[tuple[str, str, float]]) -> list[Kept]:
    return [Kept(Event.from_json(json.loads(event)), reason, kept) for event, reason, kept in rows]


def _array(ids: Sequence[str]) -> str:
    return json.dumps(list(ids))
