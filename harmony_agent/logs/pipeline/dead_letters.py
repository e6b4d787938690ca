"""Events that a log system will never take: kept in a database for a person to look at."""

import json
import logging
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harmony_agent.core.threads import Workers
from harmony_agent.logs import metrics
from harmony_agent.logs.database import open_database, translated
from harmony_agent.logs.event import Event
from harmony_agent.logs.systems.encoding import to_json
from harmony_agent.logs.systems.interface import DeadLetter

__all__ = ["DeadLetters", "Kept"]

log = logging.getLogger(__name__)

_LIMIT: Final = 30.0  # seconds for a call; a local disk
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
        self._path = state_dir / "dead-letters.db"
        self._most_bytes = most_bytes
        self._workers = Workers("dead-letters", 1)
        self._connection: sqlite3.Connection | None = None
        self.count = 0
        """How many there are, as far as is known; right after `load` and each other call."""
        self.dropped = 0

    async def load(self) -> None:
        """Learn how many there are."""
        await self._workers.run(_LIMIT, self._count)
        metrics.DEAD_KEPT.set(self.count)

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Keep `letters` durably."""
        dropped = await self._workers.run(_LIMIT, self._insert, letters)
        metrics.DEAD.inc(len(letters))
        metrics.DEAD_KEPT.set(self.count)
        if dropped:
            self.dropped += dropped
            metrics.DEAD_DROPPED.inc(dropped)
            log.error("%d of the oldest dead letters are dropped to make room", dropped)

    async def newest(self, most: int) -> list[Kept]:
        """The last `most` that were kept, oldest first."""
        return await self._workers.run(_LIMIT, self._newest, most)

    async def find(self, ids: Sequence[str]) -> list[Kept]:
        """Those of the events `ids` that are there, oldest first."""
        return await self._workers.run(_LIMIT, self._find, ids)

    async def ids(self) -> list[str]:
        """The ids of all events, oldest first."""
        return await self._workers.run(_LIMIT, self._ids)

    async def remove(self, ids: Sequence[str]) -> int:
        """Forget the events `ids`; how many of them there were."""
        removed = await self._workers.run(_LIMIT, self._remove, ids)
        metrics.DEAD_KEPT.set(self.count)
        return removed

    async def close(self) -> None:
        """Close the database; idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._workers.run(_LIMIT, connection.close)
        self._workers.close()

    # The rest runs in the thread.

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_database(self._path, _SCHEMA, synchronous="FULL")
        return self._connection

    def _count(self) -> None:
        with translated(self._path):
            self.count = self._open().execute("SELECT count(*) FROM letters").fetchone()[0]

    def _insert(self, letters: Sequence[DeadLetter]) -> int:
        kept = time.time()
        rows = [
            (letter.event.id, kept, letter.reason, to_json(letter.event.to_json()))
            for letter in letters
        ]
        with translated(self._path):
            connection = self._open()
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "INSERT INTO letters (id, kept, reason, event) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (id) DO UPDATE SET reason = excluded.reason",
                    rows,
                )
                dropped = connection.execute(_DROP_OLDEST, (self._most_bytes,)).rowcount
        self._count()
        return dropped

    def _newest(self, most: int) -> list[Kept]:
        return self._select(
            "SELECT event, reason, kept FROM letters ORDER BY number DESC LIMIT ?", most
        )[::-1]

    def _find(self, ids: Sequence[str]) -> list[Kept]:
        return self._select(
            "SELECT event, reason, kept FROM letters "
            "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY number",
            _array(ids),
        )

    def _ids(self) -> list[str]:
        with translated(self._path):
            return [
                row[0] for row in self._open().execute("SELECT id FROM letters ORDER BY number")
            ]

    def _remove(self, ids: Sequence[str]) -> int:
        with translated(self._path):
            removed = self._open().execute(
                "DELETE FROM letters WHERE id IN (SELECT value FROM json_each(?))", (_array(ids),)
            )
        self._count()
        return removed.rowcount

    def _select(self, query: str, value: int | str) -> list[Kept]:
        with translated(self._path):
            rows = self._open().execute(query, (value,)).fetchall()
        return [Kept(Event.from_json(json.loads(e)), reason, kept) for e, reason, kept in rows]


def _array(ids: Sequence[str]) -> str:
    return json.dumps(list(ids))
