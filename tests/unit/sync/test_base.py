"""The base: rows that survive, and a damaged database that is set aside."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harmony_agent.core.errors import Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.repositories.interface import Token
from harmony_agent.sync.base import Base
from harmony_agent.sync.decisions.states import BaseRow


def row(token: str = "t") -> BaseRow:
    """Some row."""
    return BaseRow("a" * 64, 1, 2, 3, Token(token))


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Base]:
    """An open base below `folder`."""
    workers = Workers("test", 1)
    base = Base(folder, "test", workers)
    await base.open()
    try:
        yield base
    finally:
        await base.close()
        workers.close()


async def test_rows_survive_a_restart(tmp_path: Path) -> None:
    """Rows, words and identity are there again; removed rows are not."""
    async with opened(tmp_path) as base:
        await asyncio.gather(*(base.put(f"certs/{n}", row(str(n))) for n in range(50)))
        await base.remove("certs/7")
        await base.set_meta("word", "value")
        identity = await base.identity()
    async with opened(tmp_path) as base:
        assert len(await base.all()) == await base.count() == 49
        assert (await base.all())["certs/8"] == row("8")
        assert await base.meta("word") == "value"
        assert await base.identity() == identity


async def test_concurrent_rows_share_a_commit(tmp_path: Path) -> None:
    """Fifty transfers that end together cost a disk sync or two, not fifty."""
    async with opened(tmp_path) as base:
        commits = 0

        def count(statement: str) -> None:
            nonlocal commits
            commits += statement == "COMMIT"

        with base._database.use() as connection:
            connection.set_trace_callback(count)
            await asyncio.gather(*(base.put(f"certs/{n}", row()) for n in range(50)))
            connection.set_trace_callback(None)
        assert commits <= 3


@pytest.mark.looptime
async def test_rows_that_follow_closely_wait_for_company(tmp_path: Path) -> None:
    """What came during a commit does not begin the next at once: one that comes a moment later
    goes with it."""
    async with opened(tmp_path) as base:
        commits = 0
        others_came = threading.Event()

        def trace(statement: str) -> None:
            nonlocal commits
            if statement == "COMMIT":
                commits += 1
                assert others_came.wait(10)

        with base._database.use() as connection:
            connection.set_trace_callback(trace)
        first = asyncio.create_task(base.put("certs/1", row()))
        await asyncio.sleep(0)
        second = asyncio.create_task(base.put("certs/2", row()))
        await asyncio.sleep(0)
        others_came.set()
        await first
        await asyncio.gather(second, base.put("certs/3", row()))
        assert commits == 2


async def test_the_rows_of_a_folder_are_exactly_those_below_it(tmp_path: Path) -> None:
    """Neighbors whose names begin alike are not among them."""
    names = ["a", "a/b", "a/b/c", "a-b", "a0", "ab", "a/é", "b"]
    async with opened(tmp_path) as base:
        await base.put_all({name: row() for name in names})
        assert set(await base.under(["a"])) == {"a", "a/b", "a/b/c", "a/é"}
        assert set(await base.under(["a/b", "b", "none"])) == {"a/b", "a/b/c", "b"}


async def test_starting_anew_forgets_everything_and_takes_another_identity(tmp_path: Path) -> None:
    """Rows, words and holds are gone."""
    async with opened(tmp_path) as base:
        before = await base.identity()
        await base.put("a", row())
        await base.hold({"b": "hash"})
        assert await base.held() == {"b": "hash"}
        identity = await base.reset()
        assert identity == await base.identity() != before
        assert await base.all() == {}
        assert await base.held() == {}


@pytest.mark.parametrize(
    "damage", [b"not a database at all" * 100, b"SQLite format 3\0" + b"x" * 5000]
)
async def test_a_damaged_database_is_set_aside(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty one takes its place, the damaged one stays for inspection, and it is told."""
    (tmp_path / "sync-test.db").write_bytes(damage)
    async with opened(tmp_path) as base:
        assert await base.all() == {}
        await base.put("a", row())
    assert [p.read_bytes() for p in tmp_path.glob("*.damaged-*")] == [damage]
    assert "set aside" in caplog.text


async def test_a_database_that_can_not_be_written_is_no_damage(tmp_path: Path) -> None:
    """A state directory that is missing raises Unavailable, and nothing is set aside."""
    workers = Workers("test", 1)
    base = Base(tmp_path / "missing", "test", workers)
    with pytest.raises(Unavailable, match="can't be used"):
        await base.open()
    workers.close()


async def test_rows_survive_a_kill(tmp_path: Path) -> None:
    """What `put` returned for is on the disk, whenever the process dies."""
    code = f"""
import asyncio, os, sys
from pathlib import Path
from tests.unit.sync.test_base import opened, row

async def main():
    async with opened(Path({str(tmp_path)!r})) as base:
        for number in range(100000):
            await base.put(f"certs/{{number}}", row())
            print(number, flush=True)

asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        last = next(int(line) for line in writer.stdout if int(line) >= 20)
        writer.kill()
    async with opened(tmp_path) as base:
        assert {f"certs/{n}" for n in range(last + 1)} <= set(await base.all())
