"""How far events are delivered: survives the end of the process at any moment."""

import json
import logging
import sqlite3
import time
from pathlib import Path

from harmony_agent.core.threads import Workers
from harmony_agent.logs.database import open_database, translated
from harmony_agent.logs.sources.position import Position

__all__ = ["Checkpoint"]

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS checkpoint (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    position TEXT NOT NULL,
    delivered INTEGER NOT NULL
);
"""
_LIMIT = 30.0  # seconds for a call; a local disk

# At the very first start: times of change come from a coarser clock than the process's.
_CLOCK_SLACK_NS = 1_000_000_000


class Checkpoint:
    """`logs.db` in the state directory.

    Kept with synchronous=NORMAL: a power cut may take the last commits back, which repeats events
    (under the same ids) and loses none.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "logs.db"
        self._workers = Workers("log-checkpoint", 1)
        self._connection: sqlite3.Connection | None = None

    async def load(self) -> tuple[Position, int]:
        """The position after the last acknowledged event, and how many were delivered in all.

        At the first start that is the beginning of the log that stands, without its archive; what
        is put away from then on counts. Raises Unavailable if the database can't be used.
        """
        return await self._workers.run(_LIMIT, self._load)

    async def save(self, position: Position, delivered: int) -> None:
        """Move on to `position`. Raises Unavailable if that can't be kept."""
        await self._workers.run(_LIMIT, self._save, position, delivered)

    async def close(self) -> None:
        """Close the database; idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._workers.run(_LIMIT, connection.close)
        self._workers.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_database(self._path, _SCHEMA, synchronous="NORMAL")
        return self._connection

    def _load(self) -> tuple[Position, int]:
        with translated(self._path):
            row = self._open().execute("SELECT position, delivered FROM checkpoint").fetchone()
        if row is not None:
            try:
                return Position.from_json(json.loads(row[0])), row[1]
            except (ValueError, KeyError, TypeError):
                log.exception("the checkpoint in %s can't be read: reading anew", self._path)
        position = Position(time.time_ns() - _CLOCK_SLACK_NS)
        self._save(position, 0)
        return position, 0

    def _save(self, position: Position, delivered: int) -> None:
        with translated(self._path):
            self._open().execute(
                "INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?)",
                (json.dumps(position.to_json()), delivered),
            )
