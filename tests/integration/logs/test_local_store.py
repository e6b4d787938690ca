"""The embedded log store: keeps, finds, forgets."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmony_agent.core.errors import Unavailable
from harmony_agent.logs.event import Event
from harmony_agent.logs.query import Query, QueryError
from harmony_agent.logs.systems.local import LocalStore
from harmony_agent.settings.model import LocalLogSystem

START = datetime(2026, 3, 10, 8, tzinfo=UTC)


def event(number: int, message: str = "hello", **changes: object) -> Event:
    """An event of second `number`."""
    values: dict[str, object] = {
        "id": f"{number:032x}",
        "time": START + timedelta(seconds=number, milliseconds=123),
        "system": "S",
        "node": "n",
        "serial": "AA1234-ZZ5678",
        "run": "2026/03/10 08:00:00",
        "number": number,
        "thread": "<send>box@host",
        "command": "4",
        "element": "Detail",
        "severity": "info",
        "message": message,
        "attributes": {"level": "1"},
    }
    return Event(**(values | changes))  # type: ignore[arg-type]  # a test's own values


@contextlib.asynccontextmanager
async def opened(
    directory: Path, settings: LocalLogSystem | None = None, now: list[float] | None = None
) -> AsyncIterator[LocalStore]:
    """A store in `directory`; `now` is its clock."""
    clock = now or [1_000_000.0]
    store = LocalStore(directory, settings or LocalLogSystem(), clock=lambda: clock[0])
    try:
        yield store
    finally:
        await store.close()


async def numbers(store: LocalStore, query: Query) -> list[int]:
    """The EN of what is found."""
    return [found["number"] for found in (await store.search(query)).resources]


async def test_an_event_comes_back_as_it_was_sent(tmp_path: Path) -> None:
    """Every field survives, with the same JSON as on the way in."""
    sent = event(1, 'a "quoted"\nline', attributes={"host": "ACME", "x": "ü<>&"}, thread=None)
    async with opened(tmp_path) as store:
        assert (await store.send([sent])).acknowledged == 1
        page = await store.search(Query())
    assert page.resources == [sent.to_json()]
    assert (page.total, page.next) == (1, None)


async def test_the_same_event_is_kept_once(tmp_path: Path) -> None:
    """Repeated deliveries, also within one batch, change nothing."""
    async with opened(tmp_path) as store:
        await store.send([event(1), event(2)])
        await store.send([event(2), event(3), event(3)])
        assert await numbers(store, Query()) == [3, 2, 1]


async def test_events_survive_the_store(tmp_path: Path) -> None:
    """What was acknowledged is there after a new start."""
    async with opened(tmp_path) as store:
        await store.send([event(1)])
    async with opened(tmp_path) as store:
        assert await numbers(store, Query()) == [1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(order="asc"), [1, 2, 3, 4]),
        (Query(since=START + timedelta(seconds=2, milliseconds=123)), [4, 3, 2]),
        (Query(since=START + timedelta(seconds=2, microseconds=123_001)), [4, 3]),
        (Query(until=START + timedelta(seconds=2, milliseconds=123)), [1]),
        (Query(until=START + timedelta(seconds=2, microseconds=123_001)), [2, 1]),
        (Query(node="other"), []),
        (Query(node="n", element="Result"), [2]),
        (Query(severities=("error", "debug")), [3, 2]),
        (Query(thread="<get>a@b"), [3]),
        (Query(host="ACME AS2"), [2]),
        (Query(mailbox="box1"), [4, 2]),
        (Query(text="REFUSED"), [2]),
        (Query(text="refused 550"), [2]),
        (Query(text="refused 551"), []),
        (Query(text="a.edi"), [4, 2]),
        (Query(text="->"), [4]),
        (Query(text='"'), [4]),
        (Query(text="größe"), [3]),
        (Query(text="  "), [4, 3, 2, 1]),
        (Query(text="refused NOT 550"), []),
        (Query(text='x" OR message:hello OR "'), []),
        (Query(start_index=1, count=2), [3, 2]),
        (Query(start_index=9), []),
    ],
    ids=repr,
)
async def test_filters(tmp_path: Path, query: Query, expected: list[int]) -> None:
    """Each filter of a query selects what it says."""
    async with opened(tmp_path) as store:
        await store.send(
            [
                event(1),
                event(
                    2,
                    "550 refused: a.edi",
                    element="Result",
                    severity="error",
                    attributes={"host": "ACME AS2", "mailbox": "box1"},
                ),
                event(3, "GRÖSSE oder Größe", severity="debug", thread="<get>a@b"),
                event(4, 'Local->Host "a.edi"', attributes={"mailbox": "box1"}),
            ]
        )
        page = await store.search(query)
        assert [found["number"] for found in page.resources] == expected
        if query.start_index == 0:
            assert page.total == len(expected)


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=st.text(), node=st.text(max_size=3))
def test_no_text_breaks_a_search(tmp_path: Path, text: str, node: str) -> None:
    """Whatever a user writes is looked for, and is never an error."""

    async def search() -> None:
        async with opened(tmp_path) as store:
            await store.search(Query(text=text, node=node))

    asyncio.run(search())


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seconds=st.lists(st.integers(0, 5), max_size=30),
    late=st.lists(st.integers(0, 5), max_size=10),
    count=st.integers(1, 7),
    descending=st.booleans(),
)
def test_cursors_neither_repeat_nor_skip(
    tmp_path: Path, seconds: list[int], late: list[int], count: int, descending: bool
) -> None:
    """Paging sees each event that was there at the start exactly once, while others arrive."""

    async def check() -> None:
        directory = tmp_path / os.urandom(8).hex()
        directory.mkdir()
        early = [event(n, time=START + timedelta(seconds=s)) for n, s in enumerate(seconds)]
        other = [event(100 + n, time=START + timedelta(seconds=s)) for n, s in enumerate(late)]
        async with opened(directory) as store:
            await store.send(early)
            query = Query(count=count, order="desc" if descending else "asc")
            seen: list[int] = []
            while True:
                page = await store.search(query)
                seen += [found["number"] for found in page.resources]
                if page.next is None:
                    break
                if other:
                    await store.send([other.pop()])
                query = Query(count=count, order=query.order, cursor=page.next)
            assert len(seen) == len(set(seen))
            assert {number for number in seen if number < 100} == set(range(len(early)))

    asyncio.run(check())


@pytest.mark.parametrize(
    "cursor", ["", "x", "ZDEuMg", "YTE", "ZGEuYg", "é", "ZDk5OTk5OTk5OTk5OTk5OTk5OTk5OTkuMQ"]
)
async def test_a_cursor_that_is_none_is_a_wrong_question(tmp_path: Path, cursor: str) -> None:
    """Garbage, and the cursor of the other order, are refused by name."""
    async with opened(tmp_path) as store:
        with pytest.raises(QueryError, match="cursor"):
            await store.search(Query(cursor=cursor, order="asc"))


async def test_old_events_are_pruned_by_arrival(tmp_path: Path) -> None:
    """Retention counts from arrival, whatever time the event itself bears; words go too."""
    now = [1_000_000.0]
    async with opened(tmp_path, LocalLogSystem(max_age_seconds=3600.0), now) as store:
        await store.send([event(1, time=START + timedelta(days=400))])
        now[0] += 3000
        await store.send([event(2, "hello", time=START - timedelta(days=400))])
        assert await store.prune() == 0
        now[0] += 1000
        assert await store.prune() == 1
        assert await numbers(store, Query(text="hello")) == [2]


async def test_the_store_keeps_its_size(tmp_path: Path) -> None:
    """Beyond the size the oldest go first, and the file does not grow on."""
    limit = 2 * 1024 * 1024
    async with opened(tmp_path, LocalLogSystem(max_bytes=limit)) as store:
        for start in range(0, 12_000, 500):
            text = "some words of a message " * 10
            await store.send([event(n, f"{text}{n}") for n in range(start, start + 500)])
        newest = await numbers(store, Query(count=5))
        oldest = await numbers(store, Query(count=1, order="asc"))
        assert newest == [11_999, 11_998, 11_997, 11_996, 11_995]
        assert oldest[0] > 1_000
    assert (tmp_path / "events.db").stat().st_size < 2 * limit


async def test_a_damaged_store_is_set_aside(tmp_path: Path) -> None:
    """Garbage in place of the database: told, kept, and a new one begun."""
    (tmp_path / "events.db").write_bytes(os.urandom(65536))
    async with opened(tmp_path) as store:
        await store.send([event(1)])
        assert await numbers(store, Query()) == [1]
    assert any(path.name.startswith("events.db.damaged-") for path in tmp_path.iterdir())


async def test_damage_found_late_ends_with_a_new_store(tmp_path: Path) -> None:
    """Pages are broken though the file opens: a delivery fails, the next finds a new file."""
    async with opened(tmp_path) as store:
        await store.send([event(n, "words " * 50) for n in range(2000)])
    path = tmp_path / "events.db"
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(path.stat().st_size - 8192))
    async with opened(tmp_path) as store:
        with contextlib.suppress(Unavailable):
            await store.send([event(n) for n in range(3000, 3005)])
        await store.send([event(n) for n in range(3000, 3005)])
        assert await numbers(store, Query(since=START + timedelta(seconds=3000), count=1)) == [3004]


async def test_a_directory_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    """The error says which file, and what to do."""
    async with opened(tmp_path / "missing") as store:
        with pytest.raises(Unavailable, match=r"events\.db can't be used.*volume"):
            await store.send([event(1)])


async def test_probe_tells_what_is_there(tmp_path: Path) -> None:
    """`check` proves the store writable and names it."""
    async with opened(tmp_path) as store:
        await store.send([event(1)])
        assert await store.probe() == f"local store {tmp_path}/events.db holds 1 events"
