"""SQLite files: opened alike, set aside when damaged, refused when they can't be used."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harmony_agent.core.database import Database, DatabaseThread, transaction
from harmony_agent.core.errors import Unavailable

SCHEMA = "CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY)"
INSERT = "INSERT INTO words VALUES (?)"


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[Database]:
    """A database at `path`, closed at the end."""
    database = Database(path, SCHEMA, **{"synchronous": "FULL", **options})
    try:
        yield database
    finally:
        database.close()


def words(database: Database) -> set[str]:
    """What it holds."""
    with database.use() as connection:
        return {row[0] for row in connection.execute("SELECT word FROM words")}


def damage(path: Path) -> None:
    """Spoil every page of the file but its first, which holds the schema."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def filled(path: Path) -> None:
    """A database of several pages, all of it in the file itself."""
    with opened(path) as database, database.use() as connection, transaction(connection):
        connection.executemany(INSERT, [(f"{number:0500}",) for number in range(100)])


@pytest.mark.parametrize(("synchronous", "level"), [("NORMAL", 1), ("FULL", 2)])
def test_every_database_is_opened_alike(tmp_path: Path, synchronous: str, level: int) -> None:
    """Journal, durability, waiting for a lock, size of journal and cache, and rights are set."""
    path = tmp_path / "words.db"
    with opened(path, synchronous=synchronous, cache=512) as database, database.use() as connection:
        values = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in (
                "journal_mode",
                "synchronous",
                "busy_timeout",
                "journal_size_limit",
                "cache_size",
            )
        }
    assert values == {
        "journal_mode": "wal",
        "synchronous": level,
        "busy_timeout": 5000,
        "journal_size_limit": 8 * 1024 * 1024,
        "cache_size": -512,
    }
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_transaction_is_kept_together_or_not_at_all(tmp_path: Path) -> None:
    """What fails in the middle leaves nothing of itself, and no transaction open."""
    with opened(tmp_path / "words.db") as database:
        with (
            pytest.raises(Unavailable, match="UNIQUE"),
            database.use() as connection,
            transaction(connection),
        ):
            connection.executemany(INSERT, [("one",), ("one",)])
        assert words(database) == set()
        with database.use() as connection, transaction(connection):
            connection.execute(INSERT, ("two",))
        assert words(database) == {"two"}


@pytest.mark.parametrize("renewable", [True, False])
def test_what_is_no_database_is_set_aside_when_it_is_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, renewable: bool
) -> None:
    """It stays for inspection, an empty database takes its place, and that is told."""
    path = tmp_path / "words.db"
    path.write_bytes(b"no database at all" * 100)
    with opened(path, renewable=renewable) as database:
        assert words(database) == set()
    (aside,) = tmp_path.glob("words.db.damaged-*")
    assert aside.read_bytes() == b"no database at all" * 100
    assert "set aside" in caplog.text


def test_damage_is_found_at_once_where_rows_must_not_be_wrong(tmp_path: Path) -> None:
    """A checked database is read through when it is opened; another is not."""
    path = tmp_path / "words.db"
    filled(path)
    damage(path)
    with opened(path, renewable=False) as database:
        assert not list(tmp_path.glob("*.damaged-*"))
        with pytest.raises(Unavailable, match="is damaged"):
            words(database)
    with opened(path, renewable=False, checked=True) as database:
        assert words(database) == set()
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


def test_damage_found_in_use_is_set_aside_only_if_the_database_may_begin_anew(
    tmp_path: Path,
) -> None:
    """A renewable one fails once and begins anew; another stays, and names the way out."""
    path = tmp_path / "words.db"
    filled(path)
    damage(path)
    with opened(path, renewable=False) as database:
        for _ in range(2):
            with pytest.raises(Unavailable, match="restart the agent"):
                words(database)
    with opened(path) as database:
        with pytest.raises(Unavailable, match="malformed"):
            words(database)
        assert words(database) == set()
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


def test_a_shared_file_that_another_connection_set_aside_is_left(tmp_path: Path) -> None:
    """What is written after that is in the new file, whoever began it."""
    path = tmp_path / "words.db"
    filled(path)
    with opened(path, shared=True) as writer, opened(path, shared=True) as reader:
        with writer.use() as connection:
            connection.execute("SELECT 1")
        damage(path)
        with pytest.raises(Unavailable, match="malformed"):
            words(reader)
        assert words(reader) == set()
        with writer.use() as connection:
            connection.execute(INSERT, ("one",))
        assert words(reader) == {"one"}


def test_a_new_file_is_not_set_aside_for_the_damage_of_the_one_before(tmp_path: Path) -> None:
    """Two connections are in the middle of a damaged file: the first to notice begins a new one,
    which stays when the other notices."""
    path = tmp_path / "words.db"
    filled(path)
    with opened(path, shared=True) as first, opened(path, shared=True) as second:

        def notice_one_after_the_other() -> None:
            with second.use() as stale:
                with pytest.raises(Unavailable, match="malformed"):
                    words(first)
                with first.use() as connection:
                    connection.execute(INSERT, ("one",))
                stale.execute("SELECT word FROM words").fetchall()

        damage(path)
        with pytest.raises(Unavailable, match="malformed"):
            notice_one_after_the_other()
        assert words(first) == words(second) == {"one"}
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


def test_a_database_that_can_not_be_opened_is_no_damage(tmp_path: Path) -> None:
    """A directory that is missing is told, and nothing is set aside; it may come later."""
    with opened(tmp_path / "later" / "words.db") as database:
        with pytest.raises(Unavailable, match="see that its volume is writable"):
            words(database)
        (tmp_path / "later").mkdir()
        assert words(database) == set()


def test_damage_that_can_not_be_set_aside_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume that became read-only is the agent's own kind of error as well."""

    def refused(*_: object) -> None:
        raise PermissionError("read-only")

    path = tmp_path / "words.db"
    filled(path)
    damage(path)
    monkeypatch.setattr(Path, "rename", refused)
    with opened(path) as database, pytest.raises(Unavailable, match="read-only"):
        words(database)


def test_a_closed_database_is_opened_again(tmp_path: Path) -> None:
    """Closing twice is no error, and the next use finds what was kept."""
    with opened(tmp_path / "words.db") as database:
        with database.use() as connection:
            connection.execute(INSERT, ("one",))
        database.close()
        database.close()
        assert not database.is_open
        assert words(database) == {"one"}


async def test_a_thread_of_its_own_runs_the_calls(tmp_path: Path) -> None:
    """Calls get the connection and their arguments; closing is idempotent, used or not."""
    thread = DatabaseThread(Database(tmp_path / "w.db", SCHEMA, synchronous="NORMAL"), "words")

    def insert(connection: sqlite3.Connection, word: str) -> int:
        return connection.execute(INSERT, (word,)).rowcount

    assert await thread.run(insert, "one") == 1
    with pytest.raises(Unavailable, match="UNIQUE"):
        await thread.run(insert, "one")
    await thread.close()
    await thread.close()
    unused = DatabaseThread(Database(tmp_path / "n.db", SCHEMA, synchronous="NORMAL"), "none")
    await unused.close()
