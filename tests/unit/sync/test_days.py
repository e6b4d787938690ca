"""Markers of nodes that are gone for good: found without a clock that anybody could set."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.core.errors import Unavailable
from harmony_agent.sync.markers.bulletin import Bulletin
from harmony_agent.sync.markers.days import Days, abandoned
from harmony_agent.sync.markers.marker import Marker, News
from tests.unit.sync.memory_repository import MemoryRepository

FOLDER = ".harmony-agent/markers"
DAY = 86_400.0


def test_a_day_begins_when_the_last_one_was_known_for_a_day() -> None:
    """By whoever has known it for so long; a number that another node begins is followed."""
    now = [1000.0]
    days = Days(lambda: now[0])
    days.saw([])
    now[0] += DAY - 1
    days.saw([0, 0])
    assert days.today == 0
    now[0] += 1
    days.saw([0, 0])
    assert days.today == 1
    now[0] += DAY - 1
    days.saw([7, 1])
    assert days.today == 7
    now[0] += DAY - 1
    days.saw([7, 7])
    assert days.today == 7
    now[0] += 1
    days.saw([7, 7])
    assert days.today == 8


def test_thirty_days_are_kept() -> None:
    """A node that was there on a day may have been until the next began."""
    assert abandoned(31, {"a": 0, "b": 1, "c": 31, "d": 32}) == ["a"]


@given(
    st.lists(
        st.tuples(
            st.floats(0.1, 60.0),  # hours
            st.sets(st.integers(0, 2), max_size=3),  # who reaches the repository then
            st.sets(st.integers(0, 2), max_size=1),  # who was restarted before
        ),
        max_size=200,
    ),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
)
def test_nobody_is_given_up_within_thirty_days(
    history: list[tuple[float, set[int], set[int]]], before: list[int]
) -> None:
    """Nodes come, go, restart and lose the repository for a while: whoever was there in the last
    thirty days is not given up, and nobody who is there now."""
    now = [0.0]
    nodes = [Days(lambda: now[0]) for _ in range(3)]
    markers = {str(number): day for number, day in enumerate(before)}
    there = dict.fromkeys(markers, 0.0)
    for hours, present, restarted in history:
        now[0] += hours * 3600
        for number in restarted:
            nodes[number] = Days(lambda: now[0])
        for number in present:
            nodes[number].saw(markers.values())
            markers[str(number)], there[str(number)] = nodes[number].today, now[0]
            for one in abandoned(nodes[number].today, markers):
                assert now[0] - there[one] >= 30 * DAY


def bulletin(repository: MemoryRepository, host: str) -> Bulletin:
    """A node that looks a few times a day."""
    return Bulletin(repository, host, 3 * 3600.0, clock=asyncio.get_running_loop().time)


async def live(node: Bulletin, days: float) -> News:
    """Some days in the life of a node; what it heard."""
    heard = News()
    try:
        async with asyncio.timeout(days * DAY):
            while True:
                await node.watch()
                news = node.take()
                heard = News({**heard.named, **news.named}, heard.gap or news.gap)
                if node.own.due is not None:
                    await node.own.publish()
                await node.purge()
    except TimeoutError:
        return heard


async def begun(repository: MemoryRepository, *hosts: str) -> list[Bulletin]:
    """Nodes whose markers are there."""
    nodes = [bulletin(repository, host) for host in hosts]
    for node in nodes:
        await node.before_listing()
        await node.own.publish()
    return nodes


@pytest.mark.looptime
async def test_the_marker_of_a_node_that_is_gone_is_deleted_after_thirty_days(
    repository: MemoryRepository,
) -> None:
    """That of one which is only quiet stays, as it is renewed once a day."""
    first, second, _ = await begun(repository, "first", "second", "gone")
    await asyncio.gather(live(first, 30), live(second, 30))
    assert f"{FOLDER}/gone" in repository.files
    writes = repository.count("replace")
    assert 2 * 26 <= writes <= 2 * 30  # a day ends with the first look after it
    await asyncio.gather(live(first, 6), live(second, 6))
    assert repository.files.keys() == {f"{FOLDER}/first", f"{FOLDER}/second"}


@pytest.mark.looptime
async def test_a_node_that_comes_back_is_heard_from_the_beginning(
    repository: MemoryRepository,
) -> None:
    """Its marker is deleted: a new process begins a new epoch, so that others list; one that only
    lost the repository for so long goes on with its own, and what it tells then is heard."""
    reader, writer, _ = await begun(repository, "reader", "writer", "ended")
    await live(reader, 1)
    before = Marker.from_bytes(repository.files[f"{FOLDER}/writer"].data)
    await live(reader, 40)
    assert repository.files.keys() == {f"{FOLDER}/reader"}
    writer.own.tell({"conf/a": False})
    await live(writer, 1)
    after = Marker.from_bytes(repository.files[f"{FOLDER}/writer"].data)
    assert before is not None and after is not None
    assert (after.epoch, after.last) == (before.epoch, before.last + 1)
    assert after.day >= 31
    assert await live(reader, 1) == News({"conf/a": False})
    await begun(repository, "ended")
    assert (await live(reader, 1)).gap


@pytest.mark.looptime
async def test_a_node_that_comes_back_at_the_last_moment_keeps_its_marker(
    repository: MemoryRepository,
) -> None:
    """It renews between the look and the delete, which has the version as its condition."""
    reader, writer = await begun(repository, "reader", "writer")

    def come_back(operation: str, path: str) -> None:
        if operation == "delete":
            content = repository.files[path].data
            repository.put(path, content)

    repository.before = come_back
    await live(reader, 40)
    assert f"{FOLDER}/writer" in repository.files
    assert writer.own.day == 0


@pytest.mark.looptime
async def test_restarts_and_outages_count_no_days(repository: MemoryRepository) -> None:
    """A node that is restarted twice a day never gives up another; nor does one without a
    repository find that time has passed."""
    await begun(repository, "gone")
    for _ in range(100):
        (node,) = await begun(repository, "restless")
        await live(node, 0.5)
    assert f"{FOLDER}/gone" in repository.files
    repository.down = True
    for _ in range(40):
        with pytest.raises(Unavailable):
            await node.watch()
        await asyncio.sleep(DAY)
    repository.down = False
    await live(node, 1)
    assert f"{FOLDER}/gone" in repository.files


def test_a_marker_of_an_earlier_version_has_no_day() -> None:
    """It is read, and counts as old once days are counted; what is no day is no marker."""
    data = Marker.begin("e", "n").to_bytes()
    assert b',"day":0' in data
    old = Marker.from_bytes(data.replace(b',"day":0', b""))
    assert old == Marker.begin("e", "n")
    for garbage in (b"-1", b"true", b'"1"', b"1.0"):
        assert Marker.from_bytes(data.replace(b',"day":0', b',"day":' + garbage)) is None
