"""What the log system does not take is copied to the runtime repository, and survives the node."""

import asyncio
import contextlib
import gzip
import random
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from fixtures.harmony_log import HarmonyLog, element
from harmony_agent.core.errors import OutcomeUnknown, Refused, Unavailable
from harmony_agent.logs.event import Event
from harmony_agent.logs.pipeline import outage, parking
from harmony_agent.logs.pipeline.segments import ParkedFolder, unpack
from harmony_agent.logs.sources.position import Position
from harmony_agent.logs.sources.reader import EventReader
from harmony_agent.logs.sources.tail import Tail
from harmony_agent.logs.stream import LogStream
from harmony_agent.logs.systems.interface import Limits, LogSystem, Receipt
from tests.integration.logs.scripted import ScriptedLogSystem
from tests.integration.logs.test_pipeline_stream import Node, messages, until
from tests.unit.sync.memory_repository import MemoryRepository

FOLDER = ".harmony-agent/parked"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage begins after a moment, and turns follow each other."""
    monkeypatch.setattr(outage, "_OUTAGE", 0.3)
    monkeypatch.setattr(parking, "_TURN", 0.05)


class Pod:
    """A node beside its runtime folder, which outlives it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lives = 0
        self.repository = MemoryRepository()
        self.ours = True
        self.announced: list[bool] = []
        self.lose()

    def lose(self) -> None:
        """The node is gone with its disk; another one takes its place."""
        before = getattr(self, "node", None)
        self._lives += 1
        self.node = Node(self._directory / str(self._lives))
        self.node.log.start()
        if before is not None:
            self.node.written = before.written
            shutil.rmtree(before.home)
            shutil.rmtree(before.state)

    @property
    def folder(self) -> ParkedFolder:
        """Where it parks."""
        return ParkedFolder(self.repository, FOLDER, lambda: self.ours)

    async def announce(self, parked: bool) -> None:
        """Tell the other nodes."""
        self.announced.append(parked)

    def parked(self) -> list[str]:
        """The messages of all parked events, segment by segment."""
        contents = [self.repository.files[path].data for path in sorted(self.repository.files)]
        return [event.message for data in contents for event in unpack(data)]

    @contextlib.asynccontextmanager
    async def running(self, log_system: LogSystem) -> AsyncIterator[LogStream]:
        """A stream that parks."""
        async with self.node.running(log_system) as stream:
            task = asyncio.create_task(stream.park(self.folder, self.announce))
            try:
                yield stream
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    """A pod whose Harmony has started."""
    return Pod(tmp_path)


def down() -> ScriptedLogSystem:
    """A log system that takes nothing."""
    system = ScriptedLogSystem()
    system.down = Unavailable("down", retry_after=0.01)
    return system


def taking(count: int) -> ScriptedLogSystem:
    """One that takes `count` events, and nothing after that."""
    system = ScriptedLogSystem()

    def some(events: Sequence[Event]) -> Receipt:
        room = count - len(system.received)
        if room > len(events):
            system.script.append(some)
            return Receipt(len(events))
        system.down = Unavailable("down", retry_after=0.01)
        return Receipt(room)

    system.script.append(some)
    return system


async def test_an_outage_parks_what_is_undelivered_and_its_end_clears_it(pod: Pod) -> None:
    """What the log system did not take is parked, as it is written (the batch of which it took a
    part as a whole); once it takes events again, they come from the log, each once, and the copies
    are deleted."""
    system = taking(103)
    pod.node.write(250)
    async with pod.running(system) as stream:
        await until(lambda: pod.parked() == pod.node.messages()[100:])
        pod.node.write(7)
        await until(lambda: pod.parked() == pod.node.messages()[100:])
        assert stream.status()["parkedEvents"] == 157
        assert pod.announced == [True]
        system.down = None
        await until(lambda: not pod.repository.files)
        await until(lambda: pod.announced == [True, False])
    assert messages(system) == pod.node.messages()


async def test_a_trickle_counts_as_an_outage(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log system that takes an event now and then: what would wait for long is parked, and once
    it takes more, each event has come once and the copies are deleted."""
    monkeypatch.setattr(outage, "_LONGEST_WAIT", 3.0)
    system = ScriptedLogSystem()

    def trickle(_: Sequence[Event]) -> Receipt:
        system.script.append(trickle)
        return Receipt(1, pause=0.1)

    system.script.append(trickle)
    pod.node.write(2_500)
    async with pod.running(system) as stream:
        await until(lambda: stream.parked > 2_000)
        assert 0 < len(system.received) < 250
        system.script.clear()
        await until(lambda: not pod.repository.files)
    assert messages(system) == pod.node.messages()


async def test_a_short_outage_parks_nothing(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the first 30 seconds the log itself is enough."""
    monkeypatch.setattr(outage, "_OUTAGE", 30.0)
    system = down()
    pod.node.write(5)
    async with pod.running(system):
        await until(lambda: len(system.attempts) > 1)
        assert not pod.repository.files
        system.down = None
        await until(lambda: len(system.received) == 5)
    assert not pod.announced


async def test_a_steady_stream_clears_its_copies_too(pod: Pod) -> None:
    """Where Harmony never stops writing, copies are deleted all the same."""
    system = down()
    pod.node.write(5)
    async with pod.running(system):
        await until(lambda: len(pod.parked()) == 5)
        system.down = None
        async with asyncio.timeout(20):
            while pod.repository.files:
                pod.node.write(1)
                await asyncio.sleep(0.01)


async def test_the_next_pod_delivers_what_a_lost_one_parked(pod: Pod) -> None:
    """Node and disk are gone: a new pod without any state delivers the events in their order, and
    empties the folder; neither side's errors keep it from that."""
    pod.node.write(250)
    async with pod.running(taking(103)):
        await until(lambda: len(pod.parked()) == 150)
    pod.lose()
    system = ScriptedLogSystem(Unavailable("down", retry_after=0.01))
    errors: list[Exception] = [Unavailable("busy"), Unavailable("busy")]

    def fail(operation: str, _: str) -> None:
        if operation in ("read", "delete") and errors:
            raise errors.pop()

    pod.repository.before = fail
    async with pod.running(system):
        await until(lambda: not pod.repository.files)
        await until(lambda: pod.announced == [True, False])
    assert list(dict.fromkeys(messages(system))) == pod.node.messages()[100:]


async def test_a_restart_in_an_outage_repeats_nothing(pod: Pod) -> None:
    """The state directory knows what is parked: a restarted agent parks on where it was, delivers
    each event once, from the log, and deletes the copies."""
    pod.node.write(20)
    async with pod.running(down()):
        await until(lambda: len(pod.parked()) == 20)
    pod.node.write(5)
    pod.node.log.rotate(pod.node.home / "logs" / "archive", packing="zip")
    pod.node.write(5)
    async with pod.running(down()):
        await until(lambda: pod.parked() == pod.node.messages())
    system = ScriptedLogSystem()
    async with pod.running(system):
        await until(lambda: not pod.repository.files and not pod.announced[-1])
    assert messages(system) == pod.node.messages()


async def test_a_damaged_ledger_costs_repeats_only(pod: Pod) -> None:
    """Without it nobody knows that the log holds the parked events too: they come twice, with one
    id each, and the copies are deleted."""
    pod.node.write(20)
    async with pod.running(down()):
        await until(lambda: len(pod.parked()) == 20)
    (pod.node.state / "parked.db").write_bytes(b"no database" * 1000)
    system = ScriptedLogSystem()
    async with pod.running(system):
        await until(lambda: not pod.repository.files and len(system.received) == 40)
    assert len({event.id for event in system.received}) == 20


@pytest.mark.parametrize("acknowledged", [0, 100])
async def test_events_that_the_log_lost_are_delivered_from_their_copies(
    pod: Pod, acknowledged: int
) -> None:
    """Harmony's log is gone before it was delivered: what was parked of it arrives, also if the
    log system never took an event of that log."""
    pod.node.write(120)
    async with pod.running(taking(acknowledged)):
        await until(lambda: len(pod.parked()) == 120 - acknowledged)
    shutil.rmtree(pod.node.home / "logs")
    pod.node.log.start()
    pod.node.write(5)
    system = ScriptedLogSystem()
    async with pod.running(system) as stream:
        await until(lambda: not pod.repository.files)
        await until(lambda: set(messages(system)) == set(pod.node.messages()[acknowledged:]))
        assert stream.status()["gaps"] == (1 if acknowledged else 0)


async def test_a_lost_file_in_the_middle_is_noticed(pod: Pod) -> None:
    """Of three files of the log the second is removed before it was delivered: what was parked of
    it arrives all the same."""
    archive = pod.node.home / "logs" / "archive"
    pod.node.write(10)
    async with pod.running(down()):
        await until(lambda: pod.parked() == pod.node.messages())
        for _ in range(2):
            pod.node.log.rotate(archive, packing="plain")
            pod.node.write(10)
            await until(lambda: pod.parked() == pod.node.messages())
    second = max(archive.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    second.unlink()
    system = ScriptedLogSystem()
    async with pod.running(system):
        await until(lambda: not pod.repository.files)
    assert set(messages(system)) == set(pod.node.messages())


def test_whether_the_log_is_whole_cannot_be_told_while_it_is_packed(tmp_path: Path) -> None:
    """A file of the log is gone, but an archive can't be unpacked yet: it may be in it."""
    log = HarmonyLog(tmp_path / "Harmony.xml")
    log.start()
    log.event(element("Detail", "one", level="1"), thread=1)
    reader = EventReader(system="S", node="n", serial=lambda: None, zone=None)
    tail = Tail(tmp_path / "Harmony.xml", tmp_path / "archive", reader, tmp_path)
    place = tail.read(Position(0), Limits(10, 10_000)).after
    assert tail.holds(place) is True
    (tmp_path / "Harmony.xml").unlink()
    assert tail.holds(place) is False
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "Harmony.xml.gz").write_bytes(gzip.compress(b"<Log>" * 99)[:-9])
    assert tail.holds(place) is None
    tail.close()


async def test_a_segment_that_cannot_be_deleted_is_not_delivered_twice(pod: Pod) -> None:
    """Credentials that may read but not delete: each event goes out once, the others as well, and
    the segments are deleted once that is allowed."""
    pod.node.write(20)
    async with pod.running(down()):
        await until(lambda: len(pod.parked()) == 20)
        pod.node.write(20)
        await until(lambda: len(pod.parked()) == 40)
    pod.lose()
    refused: list[str] = []

    def refuse(operation: str, path: str) -> None:
        if operation == "delete":
            refused.append(path)
            raise Refused("may not delete")

    pod.repository.before = refuse
    system = ScriptedLogSystem()
    async with pod.running(system):
        await until(lambda: len(refused) > 3)
        pod.repository.before = lambda operation, path: None
        await until(lambda: not pod.repository.files)
    assert sorted(messages(system)) == sorted(pod.node.messages())


async def test_a_node_that_was_adopted_meanwhile_announces_anew(pod: Pod) -> None:
    """Another node delivered and took the announcement back; this one comes back with its state
    while the log system is down, and parks again."""
    pod.node.write(5)
    async with pod.running(down()):
        await until(lambda: len(pod.parked()) == 5)
    pod.repository.files.clear()
    pod.announced.clear()
    pod.node.write(5)
    async with pod.running(down()):
        await until(lambda: len(pod.parked()) == 5)
    assert pod.announced == [True]


async def test_without_the_lease_nothing_is_written_or_deleted(pod: Pod) -> None:
    """Another pod of that name holds the folder: this one tells, and goes on delivering."""
    pod.ours = False
    system = down()
    pod.node.write(5)
    async with pod.running(system):
        await until(lambda: "log-parking" in {c.name for c in pod.node.health.conditions()})
        assert not pod.repository.files
        pod.ours = True
        await until(lambda: len(pod.parked()) == 5)
        pod.ours, system.down = False, None
        await until(lambda: len(system.received) == 5)
        assert len(pod.parked()) == 5
        pod.ours = True
        await until(lambda: not pod.repository.files)


async def test_a_lost_answer_makes_no_second_copy(pod: Pod) -> None:
    """The segment is there, its acknowledgment was lost: the same one is tried again, though the
    log has grown by then."""
    creates: list[str] = []

    def lose(operation: str, path: str) -> bool:
        if operation == "create":
            creates.append(path)
            if len(creates) == 1:
                pod.node.write(2)
        return operation == "create" and len(creates) == 1

    pod.repository.loses_answer = lose
    pod.node.write(5)
    async with pod.running(down()) as stream:
        await until(lambda: stream.status()["parkedEvents"] == 7)
        assert len(creates) == 2
        assert pod.parked() == pod.node.messages()


async def test_a_damaged_segment_is_left_and_told(
    pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    """It neither stops the others nor disappears."""
    pod.node.write(5)
    async with pod.running(down()):
        await until(lambda: len(pod.parked()) == 5)
    pod.repository.put(f"{FOLDER}/00000000T000000Z-0-1.jsonl.gz", b"garbage")
    pod.repository.put(f"{FOLDER}/notes.txt", b"hello")
    pod.lose()
    system = ScriptedLogSystem()
    async with pod.running(system):
        await until(lambda: len(pod.repository.files) == 2)
    assert messages(system) == pod.node.messages()
    assert "damaged" in caplog.text


async def test_the_end_parks_the_rest(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be delivered while draining is parked, however short the outage is; the next
    agent that finds the log delivers from it, and deletes the copies."""
    monkeypatch.setattr(outage, "_OUTAGE", 30.0)
    pod.node.write(150)
    async with pod.running(down()) as stream:
        assert await stream.drain(0.2) == 150
        pod.repository.before = _once(OutcomeUnknown("no answer"))
        with pytest.raises(OutcomeUnknown):
            await stream.park_rest(pod.folder, pod.announce, rest=True)
        pod.node.write(3)
        await stream.park_rest(pod.folder, pod.announce, rest=True)
        assert stream.parked == 153
    assert pod.parked() == pod.node.messages()
    system = ScriptedLogSystem()
    async with pod.node.running(system) as stream:
        assert await stream.drain(10) is None
    async with pod.running(system):
        await until(lambda: not pod.repository.files)
    assert messages(system) == pod.node.messages()


async def test_a_log_system_that_refuses_counts_as_down(pod: Pod) -> None:
    """Bad credentials hold the events: they are parked like in any outage."""
    system = ScriptedLogSystem()
    system.down = Refused("bad token")
    pod.node.write(5)
    async with pod.running(system):
        await until(lambda: len(pod.parked()) == 5)


@pytest.mark.parametrize("seed", range(6))
async def test_random_lives_lose_nothing(pod: Pod, seed: int) -> None:
    """Outages, restarts, rotations and lost nodes in any order: whatever was parked or is in the
    log arrives in the end, and no copy remains."""
    dice = random.Random(seed)
    received: list[str] = []
    for _ in range(12):
        system = taking(dice.randint(1, 9)) if dice.random() < 0.7 else ScriptedLogSystem()
        async with pod.running(system):
            for _ in range(dice.randint(1, 3)):
                pod.node.write(dice.randint(1, 30))
                if dice.random() < 0.4:
                    archive = pod.node.home / "logs" / "archive"
                    pod.node.log.rotate(archive, packing=dice.choice(["plain", "gzip", "zip"]))
                await asyncio.sleep(dice.uniform(0, 0.2))

            def safe() -> bool:
                known = {*received, *messages(system), *pod.parked()}  # noqa: B023
                return known >= set(pod.node.messages())

            loses = dice.random() < 0.4
            if loses:
                await until(safe)
        received += messages(system)
        if loses:
            pod.lose()
    system = ScriptedLogSystem()
    async with pod.running(system):
        await until(lambda: {*received, *messages(system)} >= set(pod.node.messages()))
        await until(lambda: not pod.repository.files)


def _once(error: Exception) -> Callable[[str, str], None]:
    """Raise `error` at the first create."""
    errors = [error]

    def fail(operation: str, _: str) -> None:
        if operation == "create" and errors:
            raise errors.pop()

    return fail
