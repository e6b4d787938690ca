"""What nodes learn from each other's markers, whatever happens to these."""

import asyncio
from collections.abc import Awaitable, Callable

import looptime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harmony_agent.core.errors import AgentError, Unavailable
from harmony_agent.sync.markers.bulletin import Bulletin
from harmony_agent.sync.markers.marker import LARGEST_MARKER, Marker, News
from tests.unit.sync.memory_repository import MemoryRepository

FOLDER = ".harmony-agent/markers"


def bulletin(repository: MemoryRepository, host: str) -> Bulletin:
    """As the agent makes it, with the default interval."""
    return Bulletin(repository, host, 5.0, clock=asyncio.get_running_loop().time)


async def two(repository: MemoryRepository) -> tuple[Bulletin, Bulletin]:
    """A node that writes and one that has read all there is."""
    writer, reader = bulletin(repository, "writer"), bulletin(repository, "reader")
    await writer.own.publish()
    await reader.own.publish()
    await reader.before_listing()
    assert reader.take() == News()
    await asyncio.sleep(10)
    repository.calls.clear()
    return writer, reader


async def heard(reader: Bulletin) -> News:
    """The next news."""
    async with asyncio.timeout(20):
        await reader.watch()
    return reader.take()


@pytest.mark.looptime
async def test_an_idle_look_is_one_small_listing(repository: MemoryRepository) -> None:
    """Whatever the number of files, about once in five seconds."""
    for number in range(10_000):
        repository.put(f"certs/{number}.cer", b"")
    _, reader = await two(repository)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(600):
            await reader.watch()
    assert set(repository.calls) == {("list", FOLDER)}
    assert 100 <= len(repository.calls) <= 150


@pytest.mark.looptime
async def test_what_was_written_is_named_within_a_poll(repository: MemoryRepository) -> None:
    """One listing and one read, however much was known before."""
    writer, reader = await two(repository)
    writer.own.tell({"conf/a": False, "conf/b": True})
    await writer.own.publish()
    repository.calls.clear()
    assert await heard(reader) == News({"conf/a": False, "conf/b": True})
    assert repository.calls == [("list", FOLDER), ("read", f"{FOLDER}/writer")]
    writer.own.tell({"conf/c": False})
    await writer.own.publish()
    assert await heard(reader) == News({"conf/c": False})


@pytest.mark.looptime
async def test_a_notified_change_is_looked_at_at_once_and_no_more_than_that(
    repository: MemoryRepository,
) -> None:
    """Where the backend tells of changes; a storm of them makes four looks a second at most."""
    writer, reader = await two(repository)
    changed = asyncio.Event()

    async def await_change(folder: str, limit: float) -> None:
        await changed.wait()

    repository.await_change = await_change  # type: ignore[method-assign]
    now = asyncio.get_running_loop().time
    writer.own.tell({"conf/a": False})
    await writer.own.publish()
    began = now()
    changed.set()
    assert await heard(reader) == News({"conf/a": False})
    assert now() - began < 0.1
    repository.calls.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10):
            await reader.watch()
    assert repository.count("list") <= 41


@pytest.mark.looptime
async def test_a_new_node_and_a_restart_after_a_kill_mean_a_listing(
    repository: MemoryRepository,
) -> None:
    """A restart in order does not."""
    writer, reader = await two(repository)
    await bulletin(repository, "third").own.publish()
    assert (await heard(reader)).gap
    await bulletin(repository, "writer").own.publish()  # while the marker of the first is open
    assert (await heard(reader)).gap
    await writer.own.publish(closed=True)
    assert (await heard(reader)).gap  # two with one name: neither is believed
    again = bulletin(repository, "writer")
    again.own.tell({"conf/a": False})
    await again.own.publish()
    assert await heard(reader) == News({"conf/a": False})


@pytest.mark.looptime
@pytest.mark.parametrize(
    "content", [b"garbage", b'{"format": 2}', b" " * (LARGEST_MARKER + 1)], ids=len
)
async def test_a_marker_that_can_not_be_read_means_a_listing_now_and_afterwards(
    repository: MemoryRepository, content: bytes
) -> None:
    """Garbage, a later format, something huge: once each, and again when it is readable."""
    _, reader = await two(repository)
    repository.put(f"{FOLDER}/writer", content)
    assert await heard(reader) == News(gap=True)
    assert ("read", f"{FOLDER}/writer") in repository.calls or len(content) > LARGEST_MARKER
    with pytest.raises(TimeoutError):
        await heard(reader)
    repository.put(f"{FOLDER}/writer", Marker.begin("epoch", "n").to_bytes())
    assert (await heard(reader)).gap


@pytest.mark.looptime
async def test_more_names_than_are_worth_looking_at_mean_a_listing(
    repository: MemoryRepository,
) -> None:
    """What waits to be taken has a bound."""
    _, reader = await two(repository)
    for node in range(5):
        marker = Marker.begin("epoch", "n")
        names = {f"certs/{node}-{number}": False for number in range(256)}
        repository.put(f"{FOLDER}/n{node}", marker.telling(names, "m").to_bytes())
    assert await heard(reader) == News(gap=True)


@pytest.mark.looptime
async def test_news_read_before_a_look_failed_are_not_lost(repository: MemoryRepository) -> None:
    """One marker can be read, the other can't: its news come with the next look that succeeds."""
    writer, reader = await two(repository)
    other = bulletin(repository, "other")
    await other.own.publish()
    assert (await heard(reader)).gap
    for node, path in ((writer, "conf/a"), (other, "conf/b")):
        node.own.tell({path: False})
        await node.own.publish()

    def fail(operation: str, path: str) -> None:
        if path.endswith("/other"):
            raise Unavailable("a moment")

    repository.before = fail
    with pytest.raises(Unavailable):
        await reader.watch()
    repository.before = lambda operation, path: None
    assert await heard(reader) == News({"conf/a": False, "conf/b": False})


@pytest.mark.looptime
async def test_a_look_that_succeeds_after_one_that_failed_is_told(
    repository: MemoryRepository,
) -> None:
    """So that trouble that is shown ends, news or not."""
    _, reader = await two(repository)
    repository.down = True
    with pytest.raises(Unavailable):
        await reader.watch()
    repository.down = False
    assert await heard(reader) == News()


PATHS = st.sampled_from(["conf/a", "conf/b", "conf/c"])
STEP = st.one_of(
    st.tuples(st.just("write"), PATHS),
    st.tuples(st.just("wait"), st.just("")),
    st.tuples(st.just("kill"), st.just("")),  # before what was written is told
    st.tuples(st.just("end"), st.just("")),
    st.tuples(st.just("garble"), st.just("")),
    st.tuples(st.just("remove"), st.just("")),
    st.tuples(st.just("lose answer"), st.just("")),
    st.tuples(st.just("fail"), st.just("")),
    st.tuples(st.just("reader restarts"), st.just("")),
    st.tuples(st.just("a day passes"), st.just("")),
)


class World:
    """A writer that restarts and is hindered, and what a reader has yet to learn."""

    def __init__(self) -> None:
        self.repository = MemoryRepository()
        self.writer = bulletin(self.repository, "writer")
        self.reader = bulletin(self.repository, "reader")
        self.is_open = False  # has this process written its marker, as it does before all else
        self.unknown: set[str] = set()  # changed, and not named to the reader

    async def go(self, history: list[tuple[str, str]]) -> None:
        """Live through `history`, then come to rest."""
        await self.turn()
        for what, path in history:
            await self.step(what, path)
        self.repository.before = lambda operation, path: None
        self.repository.loses_answer = lambda operation, path: False
        for _ in range(4):
            await self.turn()

    async def step(self, what: str, path: str) -> None:
        """One thing happens."""
        marker = f"{FOLDER}/writer"
        match what:
            case "write" if self.is_open:
                self.unknown.add(path)
                self.writer.own.tell({path: False})
            case "kill":
                if self.is_open:
                    self.unknown.add("untold")
                self.restart()
            case "end":
                await tolerant(lambda: self.writer.own.publish(closed=True))
                self.restart()
            case "garble":
                self.repository.put(marker, b"garbage")
            case "remove":
                self.repository.files.pop(marker, None)
            case "lose answer":
                once = iter([True])
                self.repository.loses_answer = lambda operation, path: next(once, False)
            case "fail":
                self.repository.before = fail_once(self.repository)
            case "reader restarts":
                self.reader = bulletin(self.repository, "reader")
            case "wait":
                await self.turn()
            case "a day passes":  # so that the markers are renewed
                await asyncio.sleep(86_400)
                await self.turn()

    def restart(self) -> None:
        """A new process of the writer."""
        self.writer = bulletin(self.repository, "writer")
        self.is_open = False

    async def turn(self) -> None:
        """Both nodes do what is due; with a gap the reader lists, and knows all."""
        await tolerant(self.writer.before_listing)
        if self.writer.own.due is not None:
            self.is_open = await tolerant(self.writer.own.publish) or self.is_open
        await tolerant(self.reader.watch)
        found = self.reader.take()
        self.unknown.difference_update(found.named)
        if found.gap:
            self.unknown.clear()


def fail_once(repository: MemoryRepository) -> Callable[[str, str], None]:
    """Have the next operation fail."""

    def fail(operation: str, path: str) -> None:
        repository.before = lambda operation, path: None
        raise Unavailable("a moment")

    return fail


async def tolerant(call: Callable[[], Awaitable[None]]) -> bool:
    """Make a call that may fail, or find nothing for a while; whether it came to its end."""
    try:
        async with asyncio.timeout(7):
            await call()
    except (AgentError, TimeoutError):
        return False
    return True


@settings(max_examples=300)
@example(
    [("lose answer", ""), ("write", "conf/a"), ("wait", ""), ("write", "conf/a"), ("remove", "")]
)
@given(st.lists(STEP, max_size=25))
def test_no_change_stays_unknown(history: list[tuple[str, str]]) -> None:
    """Kills, lost answers, garbage, deletes and outages: once it is quiet, the reader was named
    all that was written, or was told to list after it."""
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:

        async def live() -> World:
            world = World()
            await world.go(history)
            return world

        assert runner.run(live()).unknown == set()
