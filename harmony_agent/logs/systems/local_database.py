"""The local store's SQLite file: blocking, to be called from threads."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from harmony_agent.core.database import Database, transaction
from harmony_agent.logs.event import Event, format_time
from harmony_agent.logs.query import Page
from harmony_agent.logs.systems.local_query import Select, cursor_after, milliseconds

__all__ = ["EventReader", "EventWriter"]

# Retention counts from arrival, and `seq` grows with arrival: the oldest have the smallest.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    arrival INTEGER NOT NULL,
    time INTEGER NOT NULL,
    system TEXT NOT NULL,
    node TEXT NOT NULL,
    serial TEXT,
    run TEXT NOT NULL,
    number INTEGER NOT NULL,
    thread TEXT,
    command TEXT,
    element TEXT NOT NULL,
    severity TEXT NOT NULL,
    host TEXT,
    mailbox TEXT,
    message TEXT NOT NULL,
    attributes TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_time ON events (time);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
    message, content='events', content_rowid='seq', columnsize=0,
    tokenize='unicode61 remove_diacritics 0'
);
CREATE TRIGGER IF NOT EXISTS events_words AFTER INSERT ON events BEGIN
    INSERT INTO words (rowid, message) VALUES (new.seq, new.message);
END;
CREATE TRIGGER IF NOT EXISTS events_no_words AFTER DELETE ON events BEGIN
    INSERT INTO words (words, rowid, message) VALUES ('delete', old.seq, old.message);
END;
"""
_INSERT: Final = (
    "INSERT OR IGNORE INTO events (id, arrival, time, system, node, serial, run, number, thread,"
    " command, element, severity, host, mailbox, message, attributes)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SELECT: Final = (
    "SELECT seq, time, system, node, serial, run, number, thread, command, element, severity,"
    " message, attributes, id FROM events"
)
_PRUNED_AT_ONCE: Final = 5_000  # events: some 100 ms for which nothing else is written


class EventWriter:
    """The connection that writes. All methods raise Unavailable if the file can't be used; a
    damaged one is set aside and a new one begun by the next call."""

    def __init__(self, path: Path, max_bytes: int, clock: Callable[[], float]) -> None:
        self._database = Database(path, _SCHEMA, synchronous="FULL", shared=True)
        self._max_bytes = max_bytes
        self._clock = clock

    def insert(self, events: Sequence[Event]) -> None:
        """Store `events` durably, those that are there already left out; then keep the size."""
        with self._database.use() as connection:
            arrival = int(self._clock())
            with transaction(connection):
                connection.executemany(_INSERT, [_row(event, arrival) for event in events])
            while _bytes_used(connection) > self._max_bytes and _delete_oldest(connection):
                pass

    def delete_arrived_before(self, cutoff: int) -> int:
        """Delete the oldest events as far as they arrived before `cutoff` (epoch seconds), a chunk
        at most; how many that were."""
        with self._database.use() as connection:
            rows = connection.execute(
                "SELECT seq, arrival FROM events ORDER BY seq LIMIT ?", (_PRUNED_AT_ONCE,)
            )
            expired = [seq for seq, arrival in rows if arrival < cutoff]
            return _delete_up_to(connection, expired[-1]) if expired else 0

    def count(self) -> int:
        """How many events there are; proves that the file can be written."""
        with self._database.use() as connection, transaction(connection):
            return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._database.close()


class EventReader:
    """The connection that searches."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA, synchronous="FULL", shared=True)

    def page(self, select: Select) -> Page:
        """Answer `select`. Raises Unavailable if the file can't be used."""
        with self._database.use() as connection:
            total = connection.execute(
                f"SELECT count(*) FROM events WHERE {select.conditions}",  # noqa: S608 - all bound
                select.values,
            ).fetchone()[0]
            rows = connection.execute(
                f"{_SELECT} WHERE {select.conditions} AND {select.page_conditions}"
                f" ORDER BY {select.order} LIMIT ? OFFSET ?",
                (*select.values, *select.page_values, select.count + 1, select.start_index),
            ).fetchall()
        page, more = rows[: select.count], len(rows) > select.count
        following = cursor_after(select.order, page[-1][1], page[-1][0]) if more and page else None
        return Page(total, [_event(row) for row in page], following)

    def interrupt(self) -> None:
        """End the search that runs, from any thread."""
        self._database.interrupt()

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._database.close()


def _row(event: Event, arrival: int) -> tuple[Any, ...]:
    return (
        event.id,
        arrival,
        milliseconds(event.time),
        event.system,
        event.node,
        event.serial,
        event.run,
        event.number,
        event.thread,
        event.command,
        event.element,
        event.severity,
        event.attributes.get("host"),
        event.attributes.get("mailbox"),
        event.message,
        orjson.dumps(event.attributes).decode(),
    )


def _event(row: tuple[Any, ...]) -> dict[str, Any]:
    """An event as `Event.to_json` gives it."""
    _, time, system, node, serial, run, number, thread, command, element, severity = row[:11]
    message, attributes, identity = row[11:]
    return {
        "time": format_time(datetime.fromtimestamp(time / 1000, UTC)),
        "system": system,
        "node": node,
        "serial": serial,
        "run": run,
        "number": number,
        "thread": thread,
        "command": command,
        "element": element,
        "severity": severity,
        "message": message,
        "attributes": orjson.loads(attributes),
        "id": identity,
    }


def _bytes_used(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _delete_oldest(connection: sqlite3.Connection) -> int:
    """Delete a twentieth, so that this is not needed again at once; how many that were."""
    first, last = connection.execute("SELECT min(seq), max(seq) FROM events").fetchone()
    return 0 if first is None else _delete_up_to(connection, first + (last - first) // 20)


def _delete_up_to(connection: sqlite3.Connection, seq: int) -> int:
    with transaction(connection):
        return connection.execute("DELETE FROM events WHERE seq <= ?", (seq,)).rowcount
