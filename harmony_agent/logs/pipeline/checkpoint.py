"""How far events are delivered: survives the end of the process at any moment."""

import json
import logging
import sqlite3
import time
from pathlib import Path

from harmony_agent.core.database import Database, DatabaseThread
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

# At the very first start: times of change come from a coarser clock than the process's.
_CLOCK_SLACK_NS = 1_000_000_000


class Checkpoint:
    """`logs.db` in the state directory.

    Kept with synchronous=NORMAL: a power cut may take the last commits back, which repeats events
    (under the same ids) and loses none.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "logs.db"
        database = Database(self._path, _SCHEMA, synchronous="NORMAL")
        self._database = DatabaseThread(database, "log-checkpoint")

    async def load(self) -> tuple[Position, int]:
        """The position after the last acknowledged event, and how many were delivered in all.

        At the first start that is the beginning of the log that stands, without its archive; what
        is put away from then on counts. Raises Unavailable if the database can't be used.
        """
        return await self._database.run(self._load)

    async def save(self, position: Position, delivered: int) -> None:
        """Move on to `position`. Raises Unavailable if that can't be kept."""
        await self._database.run(_save, position, delivered)

    async def close(self) -> None:
        """Close the database; idempotent."""
        await self._database.close()

    def _load(self, connection: sqlite3.Connection) -> tuple[Position, int]:
        row = connection.execute("SELECT position, delivered FROM checkpoint").fetchone()
        if row is not None:
            try:
                return Position.from_json(json.loads(row[0])), row[1]
            except (ValueError, KeyError, TypeError):
                log.exception("the checkpoint in %s can't be read: reading anew", self._path)
        position = Position(time.time_ns() - _CLOCK_SLACK_NS)
        _save(connection, position, 0)
        return position, 0


def _save(connection: sqlite3.Connection, position: Position, delivered: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?)",
        (json.dumps(position.to_json()), delivered),
    )
