"""Several nodes in virtual time: how soon a change arrives, what it costs, what can't lose it."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from harmony_agent.core.errors import Refused
from harmony_agent.lifecycle.health import Level
from harmony_agent.sync.keeper import round_size
from tests.unit.sync.bench import Bench, running
from tests.unit.sync.memory_repository import MemoryRepository

pytestmark = pytest.mark.looptime

Node = Callable[[str], Bench]

MARKERS = ".harmony-agent/markers"
POLL = 6.0  # seconds; the default interval with all its jitter
NEVER = 1_000_000.0  # seconds between listings, to see what markers do by themselves


@asynccontextmanager
async def agents(*nodes: Bench, **settings: float) -> AsyncIterator[AsyncExitStack]:
    """An agent runs on each node, long enough for all of them to know each other."""
    async with AsyncExitStack() as stack:
        for node in nodes:
            sync = await stack.enter_async_context(node.configuration(**settings))
            await sync.take_on()
            await stack.enter_async_context(running(sync))
        await asyncio.sleep(100)
        nodes[0].repository.calls.clear()
        yield stack


async def until(condition: Callable[[], bool], limit: float, step: float = 0.2) -> float:
    """Wait until `condition` holds, looking every `step` seconds; how many that took."""
    clock = asyncio.get_running_loop().time
    began = clock()
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(step)
    return clock() - began


def notifying(repository: MemoryRepository) -> None:
    """Have `repository` tell of changes at once, as file and SMB repositories do."""
    changed = asyncio.Event()
    put = repository.put

    def telling_put(path: str, data: bytes) -> object:
        changed.set()
        changed.clear()
        return put(path, data)

    async def await_change(folder: str, limit: float) -> None:
        try:
            async with asyncio.timeout(limit):
                await changed.wait()
        except TimeoutError:
            pass

    repository.put = telling_put  # type: ignore[method-assign, assignment]
    repository.await_change = await_change  # type: ignore[method-assign]


def marker_writes(repository: MemoryRepository) -> int:
    """How often a marker was written."""
    return sum(
        operation in ("create", "replace") and path.startswith(MARKERS)
        for operation, path in repository.calls
    )


async def test_an_idle_hour_costs_one_small_request_per_poll(
    node: Node, repository: MemoryRepository
) -> None:
    """And a listing every five minutes, whatever was synchronized before."""
    first = node("first")
    for number in range(50):
        first.write(f"certs/{number}.cer", str(number))
    async with agents(first):
        turns = first.hints.waits
        await asyncio.sleep(3600)
        calls = Counter(repository.calls)
        polls = calls.pop(("list", MARKERS))
        assert 600 <= polls <= 920
        assert sum(calls.values()) <= 14 * 9  # folders and repo-id, each five minutes
        assert {operation for operation, _ in calls} <= {"list", "read"}
        assert first.hints.waits - turns < 200  # a poll that finds nothing wakes nobody


async def test_an_edit_arrives_within_a_poll(node: Node, repository: MemoryRepository) -> None:
    """With a handful of requests: it is named, so nothing is listed."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")
    async with agents(first, second, list_interval=NEVER):
        first.write("conf/Options.xml", "<Options n='1'/>")
        await until(lambda: second.owned()["conf/Options.xml"] == b"<Options n='1'/>", POLL + 1)
        listed = {path for operation, path in repository.calls if operation == "list"}
        assert listed == {MARKERS}
        assert repository.count("stat") <= 2


async def test_where_writes_are_notified_an_edit_arrives_within_a_second(
    node: Node, repository: MemoryRepository
) -> None:
    """Coalescing, settling, pushing, telling, looking and fetching together."""
    notifying(repository)
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")
    async with agents(first, second, list_interval=NEVER):
        for number in range(5):
            text = f"<Options n='{number}'/>"
            first.write("conf/Options.xml", text)
            arrived = second.home / "conf/Options.xml"
            took = await until(lambda: arrived.read_text() == text, 10, 0.01)  # noqa: B023
            assert took < 1
            await asyncio.sleep(5)


async def test_a_delete_travels_within_two_polls_of_being_sure(
    node: Node, repository: MemoryRepository
) -> None:
    """Named by the marker and confirmed by a look: no listing is waited for."""
    first, second = node("first"), node("second")
    first.write("hosts/Old.xml", "<Host/>")
    first.write("hosts/Other.xml", "<Host/>")
    async with agents(first, second, list_interval=NEVER):
        first.remove("hosts/Old.xml")
        await until(lambda: "hosts/Old.xml" not in repository.files, 10)
        await until(lambda: "hosts/Old.xml" not in second.owned(), 2 * POLL)
    assert second.owned() == {"hosts/Other.xml": b"<Host/>"}


async def test_what_a_foreign_writer_deletes_goes_after_a_second_listing(
    node: Node, repository: MemoryRepository
) -> None:
    """Half a minute after the first that lacks it, not at the next regular one."""
    first = node("first")
    first.write("hosts/Old.xml", "<Host/>")
    first.write("hosts/Other.xml", "<Host/>")
    async with agents(first, list_interval=300):
        del repository.files["hosts/Old.xml"]
        await until(lambda: ("list", "hosts") in repository.calls, 400)
        await asyncio.sleep(25)
        assert "hosts/Old.xml" in first.owned()
        await until(lambda: "hosts/Old.xml" not in first.owned(), 10)
        listings = repository.calls.count(("list", "hosts"))
        assert listings == 2


async def test_more_changes_than_a_marker_names_arrive_by_a_listing(
    node: Node, repository: MemoryRepository
) -> None:
    """The reader finds the gap and lists, without waiting for the next regular listing."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")
    async with agents(first, second, list_interval=NEVER):
        for number in range(600):
            first.write(f"certs/{number}.cer", str(number))
        await until(lambda: len(second.owned()) == 601, 60)
        assert repository.calls.count(("list", "certs")) <= 3


@pytest.mark.parametrize("content", [None, b"garbage", b'{"format": 2}'], ids=repr)
async def test_markers_that_are_lost_or_garbled_lose_no_change(
    node: Node, repository: MemoryRepository, content: bytes | None
) -> None:
    """Somebody deletes or overwrites them every few seconds: edits arrive all the same."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")

    async def spoil() -> None:
        while True:
            await asyncio.sleep(3)
            for name in ("first", "second"):
                if content is None:
                    repository.files.pop(f"{MARKERS}/{name}", None)
                else:
                    repository.put(f"{MARKERS}/{name}", content)

    async with agents(first, second, list_interval=300):
        spoiling = asyncio.create_task(spoil())
        for number in range(3):
            text = f"<Options n='{number}'/>"
            first.write("conf/Options.xml", text)
            arrived = second.home / "conf/Options.xml"
            await until(lambda: arrived.read_text() == text, 340)  # noqa: B023
        spoiling.cancel()
        repository.calls.clear()
        await asyncio.sleep(600)
        assert repository.calls.count(("list", "conf")) < 2 * 600 / 30  # by both together


async def test_where_markers_can_not_be_written_listings_carry_the_changes(
    node: Node, repository: MemoryRepository
) -> None:
    """Told as trouble, with the repository's own words; pushing and pulling go on."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")

    def refuse(operation: str, path: str) -> None:
        if operation in ("create", "replace") and path.startswith(MARKERS):
            raise Refused("no permission to write markers")

    repository.before = refuse
    async with agents(first, second, list_interval=300):
        first.write("conf/Options.xml", "<Options n='1'/>")
        await until(lambda: second.owned()["conf/Options.xml"] == b"<Options n='1'/>", 340)
        assert first.condition().message == "no permission to write markers"
        repository.before = lambda operation, path: None
        await asyncio.sleep(130)
        assert first.condition().level is Level.OK


async def test_where_markers_can_not_be_read_listings_carry_the_changes(
    node: Node, repository: MemoryRepository
) -> None:
    """The same for the other direction."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")

    def refuse(operation: str, path: str) -> None:
        if operation == "list" and path == MARKERS:
            raise Refused("no permission to list markers")

    repository.before = refuse
    async with agents(first, second, list_interval=300):
        first.write("conf/Options.xml", "<Options n='1'/>")
        await until(lambda: second.owned()["conf/Options.xml"] == b"<Options n='1'/>", 340)
        assert first.condition().message == "no permission to list markers"
        repository.before = lambda operation, path: None
        await asyncio.sleep(130)
        assert first.condition().level is Level.OK


async def test_a_path_that_can_not_be_looked_at_is_in_nobody_s_way(
    node: Node, repository: MemoryRepository
) -> None:
    """What a marker names and the repository refuses to show is left to a listing."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")
    first.write("certs/a.cer", "a")

    def refuse(operation: str, path: str) -> None:
        if operation == "stat" and path == "certs/a.cer":
            raise Refused("no permission")

    async with agents(first, second, list_interval=NEVER):
        repository.before = refuse
        first.write("certs/a.cer", "new a")
        first.write("conf/Options.xml", "<Options n='1'/>")
        await until(lambda: second.owned()["certs/a.cer"] == b"new a", 60)
        assert second.owned()["conf/Options.xml"] == b"<Options n='1'/>"


async def test_two_agents_with_one_name_are_told_and_lose_nothing(
    node: Node, repository: MemoryRepository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A third node gets what both of them write."""
    twins = [Bench(tmp_path / name, repository, host="same") for name in "ab"]
    third = node("third")
    twins[0].write("conf/Options.xml", "<Options/>")
    async with agents(*twins, third, list_interval=300):
        for number in range(4):
            for twin, name in zip(twins, "ab", strict=True):
                twin.write(f"certs/{name}{number}.cer", str(number))
            await until(lambda: len(third.owned()) == 3 + 2 * number, 70)  # noqa: B023
    assert "give each its own HARMONY_AGENT_HOST" in caplog.text


async def test_a_node_killed_before_it_could_tell_has_the_others_list(
    node: Node, repository: MemoryRepository
) -> None:
    """Its next start says that something may have been missed."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")
    async with agents(second, list_interval=NEVER):
        async with agents(first, list_interval=NEVER):
            second.repository.before = lambda operation, path: None
            first.write("certs/late.cer", "late")

            def killed(operation: str, path: str) -> None:
                if operation == "replace" and path.startswith(MARKERS):
                    raise Refused("killed")

            repository.before = killed
            await until(lambda: "certs/late.cer" in repository.files, 10)
        repository.before = lambda operation, path: None
        assert "certs/late.cer" not in second.owned()
        async with agents(first, list_interval=NEVER):
            assert second.owned()["certs/late.cer"] == b"late"


async def test_a_node_that_ended_in_order_has_nobody_list(
    node: Node, repository: MemoryRepository
) -> None:
    """A rolling update costs no listings but each node's own."""
    first, second = node("first"), node("second")
    second.write("conf/Options.xml", "<Options/>")
    async with agents(second, list_interval=NEVER):
        for number in range(3):
            async with first.configuration(list_interval=NEVER) as sync:
                await sync.take_on()
                async with running(sync):
                    await asyncio.sleep(50)
                first.write("conf/Options.xml", f"<Options n='{number}'/>")
                assert await sync.flush(5) == 0
            await until(
                lambda: second.owned()["conf/Options.xml"] == f"<Options n='{number}'/>".encode(),  # noqa: B023
                POLL + 1,
            )
        lists = repository.calls.count(("list", "conf"))
        assert lists == 1 + 1 + 3  # first pull, first seen, and one start each


async def test_a_busy_node_writes_its_marker_every_two_seconds_at_most(
    node: Node, repository: MemoryRepository
) -> None:
    """And its changes arrive while it goes on."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")
    async with agents(first, second, list_interval=NEVER):
        for number in range(200):
            first.write(f"certs/{number}.cer", str(number))
            await asyncio.sleep(0.5)
        assert 30 <= marker_writes(repository) <= 52
        assert len(second.owned()) > 180


async def test_a_long_pull_does_not_keep_local_changes_waiting(
    node: Node, repository: MemoryRepository
) -> None:
    """Passes go in rounds: what Harmony writes meanwhile travels between two of them."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")
    async with agents(first, second, list_interval=300):
        for number in range(1000):
            repository.put(f"certs/{number}.cer", b"x")
        repository.delay = 2.0
        await until((second.home / "certs").exists, 400)
        second.write("conf/Options.xml", "<Options n='1'/>")
        await until(lambda: repository.files["conf/Options.xml"].data == b"<Options n='1'/>", 30)
        assert len(second.owned()) < 400


@pytest.mark.parametrize(
    ("done", "took", "next_one"), [(0, 9.0, 32), (40, 5.0, 40), (32, 60.0, 32), (256, 0.0, 512)]
)
def test_a_round_takes_a_few_seconds(done: int, took: float, next_one: int) -> None:
    """Few files where each takes long, many where they are quick, within limits."""
    assert round_size(done, took) == next_one


async def test_files_dated_an_hour_apart_travel_all_the_same(
    node: Node, repository: MemoryRepository
) -> None:
    """Nodes whose clocks differ: content and tokens decide, never a time."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")

    def edit(bench: Bench, text: str, offset: float) -> None:
        bench.write("conf/Options.xml", text)
        moment = time.time() + offset
        os.utime(bench.home / "conf/Options.xml", (moment, moment))

    async with agents(first, second, list_interval=NEVER):
        edit(first, "<Options n='1'/>", 3600)
        await until(lambda: second.owned()["conf/Options.xml"] == b"<Options n='1'/>", POLL + 1)
        edit(second, "<Options n='2'/>", -3600)
        await until(lambda: first.owned()["conf/Options.xml"] == b"<Options n='2'/>", POLL + 1)
    assert repository.conflicts() == []


async def test_a_wall_clock_set_back_changes_nothing(
    node: Node, repository: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day back and forth again while two nodes work: edits arrive as soon as ever."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")
    true_time = time.time
    async with agents(first, second, list_interval=NEVER):
        for number, offset in enumerate((-86400, 86400, 0)):
            monkeypatch.setattr(time, "time", lambda offset=offset: true_time() + offset)
            text = f"<Options n='{number}'/>"
            first.write("conf/Options.xml", text)
            arrived = second.home / "conf/Options.xml"
            await until(lambda: arrived.read_text() == text, POLL + 1)  # noqa: B023
        assert repository.conflicts() == []


async def test_when_answers_are_lost_the_rest_follows_soon(node: Node) -> None:
    """Sixteen writes without an answer end a pass, also if all of them took effect: the others are
    not left for the next look at everything."""
    first = node("first")
    lost: set[str] = set()

    def loses(operation: str, path: str) -> bool:
        if operation == "create" and path.startswith("certs/") and len(lost) < 16:
            lost.add(path)
            return True
        return False

    async with agents(first):
        first.repository.loses_answer = loses
        for number in range(30):
            first.write(f"certs/{number:02}", str(number))
        assert await until(lambda: len(first.repository.owned()) == 30, 100) < 10
    assert len(lost) == 16
