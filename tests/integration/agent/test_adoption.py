"""Another node delivers what a lost one parked, under that node's lease."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from harmony_agent.agent import adoption
from harmony_agent.agent.adoption import Adoption, announce
from harmony_agent.agent.storage import Storage
from harmony_agent.core.errors import Unavailable
from harmony_agent.logs.event import Event
from harmony_agent.logs.pipeline.segments import ParkedFolder
from harmony_agent.logs.stream import LogStream
from harmony_agent.logs.systems.interface import Receipt
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import LEASE, PARKED
from harmony_agent.repositories.lease import Lease
from harmony_agent.repositories.lease_machine import Record
from tests.integration.logs.scripted import ScriptedLogSystem
from tests.integration.logs.test_pipeline_stream import Node, messages, until
from tests.unit.sync.memory_repository import MemoryRepository

AFTER = 3600.0
PAUSE = 600.0


class Clock:
    """Time since boot, as far as leases go."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


class Root:
    """The runtime repository: what a Storage gives to an Adoption."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.folders: dict[str | None, MemoryRepository] = {}

    def seen_by(self, identity: str) -> "Root":
        """The same, from another node."""
        other = Root(identity)
        other.folders = self.folders
        return other

    def folder(self, node: str | None) -> MemoryRepository:
        """A node's folder, or the system's."""
        return self.folders.setdefault(node, MemoryRepository())

    @contextlib.asynccontextmanager
    async def visit(self, node: str | None) -> AsyncIterator[Repository]:
        """See Storage."""
        yield self.folder(node)

    def parked(self, node: str) -> list[str]:
        """The segments of `node`."""
        return [path for path in self.folder(node).files if path.startswith(PARKED)]

    def record(self, node: str) -> Record:
        """The lease of `node`."""
        return Record.from_bytes(self.folder(node).files[LEASE].data)


class Adopter:
    """A node that watches others."""

    def __init__(self, root: Root, clock: Clock, stream: LogStream, name: str) -> None:
        self._clock = clock
        storage = cast("Storage", root)
        self.adoption = Adoption(storage, stream, node=name, after=AFTER, clock=clock)

    async def look(self, seconds: float = 0.0) -> bool:
        """Look, now and then for so much time, and at its end."""
        end = self._clock.now + seconds
        while end - self._clock.now > 1.5 * PAUSE:
            self._clock.now += PAUSE
            assert not await self.adoption.look()
        self._clock.now = end
        return await self.adoption.look()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all leases."""
    clock = Clock()
    assert Lease.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Lease.__init__.__kwdefaults__, "clock", clock)
    return clock


@pytest.fixture
async def lost(tmp_path: Path, clock: Clock) -> tuple[Root, Node]:
    """A node that parked 250 events and is gone; its lease was never given back."""
    node, root = Node(tmp_path / "lost"), Root("identity of lost")
    node.log.start()
    node.write(250)
    system = ScriptedLogSystem()
    system.down = Unavailable("down", retry_after=0.01)
    lease = Lease(root.folder("lost"), root.identity, "lost")
    assert await lease.take()
    tell = announce(cast("Storage", root), "lost")
    async with node.running(system) as stream:
        await until(lambda: bool(stream.status()["pendingEvents"]))
        folder = ParkedFolder(root.folder("lost"), PARKED, lease.may_write)
        await stream.park_rest(folder, tell, rest=True)
    assert len(root.parked("lost")) == 1
    return root, node


@contextlib.asynccontextmanager
async def adopter(
    tmp_path: Path, root: Root, clock: Clock, system: ScriptedLogSystem, name: str = "other"
) -> AsyncIterator[Adopter]:
    """Another node, whose log system is `system`."""
    node = Node(tmp_path / name)
    async with node.running(system) as stream:
        yield Adopter(root.seen_by(f"identity of {name}"), clock, stream, name)


async def test_parked_events_of_a_node_that_stays_away_are_delivered(
    tmp_path: Path, clock: Clock, lost: tuple[Root, Node]
) -> None:
    """Once its lease has not changed for the set time, another node takes it, delivers all in
    order, deletes segments and announcement, and gives the lease back."""
    root, node = lost
    system = ScriptedLogSystem()
    async with adopter(tmp_path, root, clock, system) as other:
        assert not await other.look()
        assert not await other.look(AFTER - 1)
        assert not system.received
        assert not await other.look(2)
    assert messages(system) == node.messages()
    assert not root.parked("lost")
    assert not root.folder(None).files
    assert root.record("lost").owner is None


async def test_a_node_that_renews_its_lease_is_left_alone(
    tmp_path: Path, clock: Clock, lost: tuple[Root, Node]
) -> None:
    """A node that lives, or came back, delivers its own events."""
    root, _ = lost
    lease = Lease(root.folder("lost"), root.identity, "lost")
    system = ScriptedLogSystem()
    async with adopter(tmp_path, root, clock, system) as other:
        for _ in range(8):
            assert await lease.take()
            assert not await other.look(AFTER / 2)
    assert not system.received
    assert root.record("lost").owner == root.identity


async def test_a_log_system_that_fails_on_the_way_loses_nothing(
    tmp_path: Path, clock: Clock, lost: tuple[Root, Node], caplog: pytest.LogCaptureFixture
) -> None:
    """The lease is given back at once, and the rest delivered later, without waiting anew."""
    root, node = lost
    system = ScriptedLogSystem()

    def some(_: Sequence[Event]) -> Receipt:
        system.down = Unavailable("down", retry_after=0.01)
        return Receipt(5)

    system.script.append(some)
    async with adopter(tmp_path, root, clock, system) as other:
        await other.look()
        await other.look(AFTER + 1)
        assert "can't be delivered yet" in caplog.text
        assert root.parked("lost")
        assert root.record("lost").owner is None
        system.down = None
        assert not await other.look(30)
    assert list(dict.fromkeys(messages(system))) == node.messages()
    assert not root.parked("lost")


async def test_a_turn_ends_with_its_time(
    tmp_path: Path, clock: Clock, lost: tuple[Root, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that has come back gets its folder within a minute: what is left waits for the next
    turn, which comes unless the node has taken its lease."""
    root, node = lost
    monkeypatch.setattr(adoption, "_TURN", 0.5)
    system = ScriptedLogSystem()
    gate = asyncio.Event()
    send = system.send

    async def slow(events: Sequence[Event]) -> Receipt:
        await gate.wait()
        return await send(events)

    monkeypatch.setattr(system, "send", slow)
    async with adopter(tmp_path, root, clock, system) as other:
        await other.look()
        assert await other.look(AFTER + 1)
        assert root.record("lost").owner is None
        assert root.folder(None).files
        gate.set()
        assert not await other.look(30)
    assert messages(system) == node.messages()


async def test_of_two_nodes_one_delivers(
    tmp_path: Path, clock: Clock, lost: tuple[Root, Node]
) -> None:
    """Both see at the same moment that the node is lost: the lease decides."""
    root, node = lost
    system = ScriptedLogSystem()
    async with (
        adopter(tmp_path, root, clock, system, "one") as one,
        adopter(tmp_path, root, clock, system, "two") as two,
    ):
        for _ in range(8):
            await asyncio.gather(one.look(), two.look())
            clock.now += PAUSE
    assert messages(system) == node.messages()
    assert not root.parked("lost")


async def test_a_node_that_is_waiting_gets_its_folder_after_the_turn(
    tmp_path: Path, clock: Clock, lost: tuple[Root, Node]
) -> None:
    """A pod that comes back during a turn takes over right after it, with a higher epoch."""
    root, _ = lost
    back = Lease(root.folder("lost"), "a new identity", "lost")
    before = root.record("lost").epoch
    system = ScriptedLogSystem()
    async with adopter(tmp_path, root, clock, system) as other:
        await other.look()
        assert not await back.take()
        await other.look(AFTER + 1)
    # The first step may be made for what it saw before.
    assert await back.take() or await back.take()
    assert root.record("lost").epoch >= before + 2


async def test_a_time_in_which_nobody_could_look_does_not_count(
    tmp_path: Path, clock: Clock, lost: tuple[Root, Node]
) -> None:
    """The repository was away for hours: the node could not renew its lease either, and gets the
    whole time anew."""
    root, _ = lost
    system = ScriptedLogSystem()
    async with adopter(tmp_path, root, clock, system) as other:
        await other.look()
        clock.now += 10 * AFTER
        assert not await other.look()
        assert not await other.look(AFTER - 1)
        assert not system.received
        await other.look(2)
    assert system.received


async def test_an_answer_lost_while_taking_the_lease_leaves_it_free(
    tmp_path: Path, clock: Clock, lost: tuple[Root, Node]
) -> None:
    """The lease was ours without our knowing: that is found out, and the events are delivered."""
    root, node = lost
    lost_answers: list[str] = []

    def lose(operation: str, path: str) -> bool:
        if (operation, path) == ("replace", LEASE) and not lost_answers:
            lost_answers.append(path)
            return True
        return False

    root.folder("lost").loses_answer = lose
    system = ScriptedLogSystem()
    async with adopter(tmp_path, root, clock, system) as other:
        await other.look()
        await other.look(AFTER + 1)
    assert lost_answers
    assert messages(system) == node.messages()
    assert root.record("lost").owner is None


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The root task looks again at once."""
    monkeypatch.setattr(adoption, "_LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(adoption, "_BETWEEN", 0.02)


@contextlib.asynccontextmanager
async def adopting(root: Root, clock: Clock, stream: LogStream) -> AsyncIterator[None]:
    """The root task of a node without a runtime folder of its own."""

    async def ready() -> Repository:
        return root.folder("other")

    root.own_runtime = ready  # type: ignore[attr-defined]
    storage = cast("Storage", root)
    task = asyncio.create_task(
        Adoption(storage, stream, node="other", after=AFTER, clock=clock).run()
    )
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.usefixtures("quick")
async def test_the_root_task_waits_while_the_log_system_is_down(
    tmp_path: Path, clock: Clock, lost: tuple[Root, Node]
) -> None:
    """It would take leases for nothing; it looks once events are taken again."""
    root, _ = lost
    system = ScriptedLogSystem()
    system.down = Unavailable("down", retry_after=0.01)
    node = Node(tmp_path / "other")
    node.log.start()
    node.write(1)
    looks = root.folder(None).calls
    looks.clear()
    async with node.running(system) as stream:
        await until(lambda: not stream.delivers)
        async with adopting(root, clock, stream):
            attempts = len(system.attempts)
            await until(lambda: len(system.attempts) > attempts + 1)
            assert not looks
            system.down = None
            await until(lambda: len(looks) > 1)


@pytest.mark.usefixtures("quick")
async def test_a_node_without_events_of_its_own_tries_again(
    tmp_path: Path, clock: Clock, lost: tuple[Root, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log system failed when it last tried: nobody but the adoption itself finds out that it
    works again."""
    root, node = lost
    monkeypatch.setattr(adoption, "_BLIND", 1e9)
    system = ScriptedLogSystem(Unavailable("down", retry_after=0.01))
    idle = Node(tmp_path / "other")
    async with idle.running(system) as stream, adopting(root, clock, stream):
        await until(lambda: len(root.folder(None).calls) > 3)
        clock.now += AFTER + 1
        await until(lambda: bool(system.attempts))
        await until(lambda: not root.parked("lost"))
    assert messages(system) == node.messages()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", [OSError("no such bundle"), RuntimeError("a fault of ours")])
async def test_nothing_ends_the_root_task(
    tmp_path: Path, clock: Clock, lost: tuple[Root, Node], error: Exception
) -> None:
    """A CA bundle that can't be read while it is exchanged, or a fault: told, tried again."""
    root, _ = lost
    errors = [error, error]
    looks: list[str] = []

    def fail(operation: str, path: str) -> None:
        looks.append(path)
        if errors:
            raise errors.pop()

    root.folder(None).before = fail
    other = Node(tmp_path / "other")
    async with other.running(ScriptedLogSystem()) as stream, adopting(root, clock, stream):
        await until(lambda: len(looks) > 4)
