"""The conflict store: keys, keeping, listing, purging, and what is shown of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.core.errors import Absent, PreconditionFailed, Refused
from harmony_agent.sync.conflicts.store import Conflict, ConflictStore, the_one
from harmony_agent.sync.decisions.paths import name_problem
from harmony_agent.sync.decisions.states import digest
from tests.unit.sync.memory_repository import MemoryRepository

FOLDER = ".harmony-agent/conflicts"
NOW = datetime(2026, 8, 1, 10, 20, 30, tzinfo=UTC)

names = st.text(min_size=1, max_size=40).filter(lambda n: "/" not in n)
harmony_paths = (
    st.lists(names, min_size=1, max_size=4)
    .map("/".join)
    .filter(lambda path: name_problem(path) is None)
)
hosts = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,50}", fullmatch=True)
moments = st.integers(0, 2**35).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


class Wall:
    """A wall clock and a clock that never jumps, both set by hand."""

    def __init__(self) -> None:
        self.now = NOW
        self.seconds = 0.0

    def store(self, repository: MemoryRepository, host: str = "node-1") -> ConflictStore:
        """A store by these clocks."""
        return ConflictStore(repository, host, wall=lambda: self.now, clock=lambda: self.seconds)


@pytest.fixture
def wall() -> Wall:
    """Both clocks."""
    return Wall()


def _conflict(path: str, *, second: int = 0) -> Conflict:
    moment = NOW + timedelta(seconds=second)
    key = f"{FOLDER}/{path}/{moment:%Y%m%dT%H%M%SZ}-node-1-0123abcd"
    found = Conflict.of(key, 5)
    assert found is not None
    return found


@given(path=harmony_paths, host=hosts, moment=moments, data=st.binary(max_size=20))
def test_a_key_tells_what_it_was_made_of(
    path: str, host: str, moment: datetime, data: bytes
) -> None:
    """Whatever the file, the node and the time: the key leads back to them."""
    repository = MemoryRepository()
    store = ConflictStore(repository, host, wall=lambda: moment)
    key = asyncio.run(store.keep(path, data))
    assert repository.files[key].data == data
    assert Conflict.of(key, len(data)) == Conflict(
        key, path, moment, host, digest(data)[:8], len(data)
    )


@given(st.text())
def test_any_other_name_is_none_of_ours(text: str) -> None:
    """Garbage never raises, and what is taken has a path that can be used."""
    for key in (text, f"{FOLDER}/{text}", f"{FOLDER}/{text}/20260801T102030Z-n-0123abcd"):
        found = Conflict.of(key, 0)
        assert found is None or (found.key == key and name_problem(found.path) is None)


@pytest.mark.parametrize(
    "key",
    [
        f"{FOLDER}/20260801T102030Z-n-0123abcd",
        f"{FOLDER}/../../etc/passwd/20260801T102030Z-n-0123abcd",
        f"{FOLDER}/hosts/a.xml/20261301T102030Z-n-0123abcd",
        f"{FOLDER}/hosts/a.xml/20260801T102030Z-n-0123ABCD",
        f"{FOLDER}/hosts/a.xml/notes.txt",
        "hosts/a.xml/20260801T102030Z-n-0123abcd",
    ],
)
def test_names_that_look_nearly_right_are_ignored(key: str) -> None:
    """No path, a path that climbs, no such month, no such hash, a note, another folder."""
    assert Conflict.of(key, 0) is None


async def test_the_same_content_of_a_file_is_kept_once(wall: Wall) -> None:
    """By any node, at any time; another content, or another file's, gets its own entry."""
    repository = MemoryRepository()
    first = await wall.store(repository).keep("hosts/a.xml", b"one")
    wall.now += timedelta(hours=1)
    second = wall.store(repository, "node-2")
    assert await second.keep("hosts/a.xml", b"one") == first
    await second.keep("hosts/a.xml", b"two")
    await second.keep("hosts/b.xml", b"one")
    assert sorted(repository.conflicts()) == [
        ("hosts/a.xml", b"one"),
        ("hosts/a.xml", b"two"),
        ("hosts/b.xml", b"one"),
    ]


async def test_a_large_version_is_kept_once_and_only_whole(wall: Wall) -> None:
    """The error of a source that changed is raised, and leaves nothing."""
    repository = MemoryRepository()
    store = wall.store(repository)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"c"

    async def changed() -> AsyncIterator[bytes]:
        yield b"ab"
        raise PreconditionFailed("has changed")

    key = await store.keep_large("certs/a", 3, pieces(), digest(b"abc"))
    assert await store.keep_large("certs/a", 3, pieces(), digest(b"abc")) == key
    with pytest.raises(PreconditionFailed):
        await store.keep_large("certs/b", 3, changed(), digest(b"abc"))
    assert repository.conflicts() == [("certs/a", b"abc")]


async def test_what_is_kept_is_listed_and_shown_newest_first(wall: Wall) -> None:
    """The list is oldest first; the status shows the count and the newest twenty."""
    repository = MemoryRepository()
    store = wall.store(repository)
    for index in range(25):
        await store.keep(f"hosts/{index:02}.xml", b"data")
        wall.now += timedelta(seconds=1)
    repository.put(f"{FOLDER}/README", b"a note")
    other = wall.store(repository, "node-2")
    assert [kept.path for kept in await other.list()] == [f"hosts/{i:02}.xml" for i in range(25)]
    for each in (store, other):
        section = each.section()
        assert section["count"] == 25
        assert len(section["newest"]) == 20
        assert section["newest"][0] == {
            "key": f"{FOLDER}/hosts/24.xml/20260801T102054Z-node-1-{digest(b'data')[:8]}",
            "path": "hosts/24.xml",
            "time": "2026-08-01T10:20:54Z",
            "host": "node-1",
            "sizeBytes": 4,
        }


async def test_what_is_removed_is_shown_no_more(wall: Wall) -> None:
    """At once, without another listing; removing it twice is no error."""
    store = wall.store(MemoryRepository())
    key = await store.keep("hosts/a.xml", b"data")
    await store.remove(key)
    await store.remove(key)
    assert store.section() == {"count": 0, "newest": []}
    assert await store.list() == []


async def test_what_is_older_than_a_month_is_purged(wall: Wall) -> None:
    """By the time in its name, and only what this agent has seen for an hour."""
    repository = MemoryRepository()
    store = wall.store(repository)
    await store.keep("hosts/old.xml", b"data")
    wall.now += timedelta(days=29)
    await store.keep("hosts/young.xml", b"data")
    await store.list()
    wall.now += timedelta(days=2)
    assert await store.purge() == 0
    wall.seconds += 3600
    assert await store.purge() == 1
    assert repository.conflicts() == [("hosts/young.xml", b"data")]


async def test_a_version_that_loses_again_is_kept_for_a_month_from_then(wall: Wall) -> None:
    """An earlier copy of the same content is not relied on: it is purged before."""
    repository = MemoryRepository()
    store = wall.store(repository)
    await store.keep("hosts/a.xml", b"one")
    wall.now += timedelta(days=29)
    again = await store.keep("hosts/a.xml", b"one")
    wall.now += timedelta(days=28)
    await store.list()
    wall.seconds += 3600
    assert await store.purge() == 1
    assert [kept.key for kept in await store.list()] == [again]


async def test_a_clock_that_jumps_ahead_purges_nothing(wall: Wall) -> None:
    """A year in a moment is no year."""
    repository = MemoryRepository()
    store = wall.store(repository)
    await store.keep("hosts/a.xml", b"data")
    await store.list()
    wall.now += timedelta(days=365)
    wall.seconds += 60
    assert await store.purge() == 0
    assert len(repository.conflicts()) == 1


def test_a_version_is_named_by_its_key_or_its_path() -> None:
    """The key may leave out the store's folder; the path will do if it is the only one."""
    a, b, c = _conflict("hosts/a.xml"), _conflict("hosts/b.xml"), _conflict("hosts/b.xml", second=1)
    kept = [a, b, c]
    assert the_one(kept, a.key) == a
    assert the_one(kept, "hosts/a.xml") == a
    assert the_one(kept, c.key.removeprefix(f"{FOLDER}/")) == c
    with pytest.raises(Absent, match="conflicts list"):
        the_one(kept, "hosts/c.xml")
    with pytest.raises(Refused, match="2 versions") as refused:
        the_one(kept, "hosts/b.xml")
    assert b.key in str(refused.value) and c.key in str(refused.value)
