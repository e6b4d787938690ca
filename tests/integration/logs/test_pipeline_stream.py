"""The log stream from file to log system: nothing lost, whatever fails on the way."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fixtures.harmony_log import HarmonyLog, element
from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.lifecycle.health import Health, Level
from harmony_agent.logs.query import Query
from harmony_agent.logs.stream import LogStream
from harmony_agent.logs.systems.interface import DeadLetter, LogSystem, Receipt
from tests.integration.logs.scripted import ScriptedLogSystem


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most 20 s."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


class Node:
    """One home and state directory; streams come and go on it."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.state = directory / "state"
        self.state.mkdir(parents=True)
        self.log = HarmonyLog(self.home / "logs" / "Harmony.xml")
        self.health = Health()
        self.written = 0

    def write(self, count: int) -> None:
        """Append `count` events, numbered on over all runs."""
        for _ in range(count):
            self.log.event(element("Detail", f"event {self.written}", level="1"), thread=1)
            self.written += 1

    def stream(self, log_system: LogSystem) -> LogStream:
        """A stream on this node's log and state."""
        return LogStream(
            home=self.home,
            system="S",
            node="n",
            serial=lambda: None,
            state_dir=self.state,
            log_system=log_system,
            health=self.health,
            time_zone="UTC",
        )

    @contextlib.asynccontextmanager
    async def running(self, log_system: LogSystem) -> AsyncIterator[LogStream]:
        """A stream whose root task runs while the block does."""
        stream = self.stream(log_system)
        task = asyncio.create_task(stream.run())
        try:
            yield stream
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await stream.close()

    def messages(self) -> list[str]:
        """What was written."""
        return [f"event {number}" for number in range(self.written)]

    def condition(self, name: str) -> Level:
        """The level of one health condition."""
        return next(c.level for c in self.health.conditions() if c.name == name)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node whose Harmony has started."""
    node = Node(tmp_path)
    node.log.start()
    return node


def messages(log_system: ScriptedLogSystem) -> list[str]:
    """What arrived."""
    return [event.message for event in log_system.received]


async def test_events_arrive_as_they_are_written(node: Node) -> None:
    """What stands in the log and what is appended later is delivered, in order."""
    system = ScriptedLogSystem()
    node.write(250)
    async with node.running(system) as stream:
        await until(lambda: len(system.received) == 250)
        node.write(3)
        await until(lambda: len(system.received) == 253)
        await until(lambda: stream.status()["delivered"] == 253)
        assert stream.status()["product"] == "Harmony 5.8.1.8"
        assert stream.status()["pendingBytes"] == 0
    assert messages(system) == node.messages()


async def test_stream_waits_for_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    """No logs directory at the start: the first event is delivered once Harmony writes it."""
    node = Node(tmp_path)
    system = ScriptedLogSystem()
    async with node.running(system):
        await until(lambda: "log-source" in {c.name for c in node.health.conditions()})
        node.log.start()
        node.write(2)
        await until(lambda: len(system.received) == 2)


async def test_a_restart_goes_on_after_the_last_acknowledged_event(node: Node) -> None:
    """A stream that was stopped repeats nothing and misses nothing, rotation included."""
    first, second = ScriptedLogSystem(), ScriptedLogSystem()
    node.write(10)
    async with node.running(first) as stream:
        await until(lambda: stream.status()["delivered"] == 10)
    node.write(5)
    node.log.rotate(node.home / "logs" / "archive", packing="zip")
    node.write(5)
    async with node.running(second) as stream:
        await until(lambda: stream.status()["delivered"] == 20)
    assert messages(first) + messages(second) == node.messages()


async def test_partial_receipts_advance_by_what_was_acknowledged(node: Node) -> None:
    """The acknowledged prefix is not sent again, the rest is."""
    system = ScriptedLogSystem(lambda _: Receipt(3), lambda _: Receipt(1))
    node.write(10)
    async with node.running(system):
        await until(lambda: len(system.received) == 10)
    assert messages(system) == node.messages()


async def test_dead_letters_are_kept(node: Node) -> None:
    """An event that is never taken is written down with its reason, and the others pass."""
    system = ScriptedLogSystem(
        lambda events: Receipt(len(events), (DeadLetter(events[1], "too odd"),))
    )
    node.write(3)
    async with node.running(system) as stream:
        await until(lambda: stream.status()["deadLetters"] == 1)
        [letter] = await stream.dead_letters.newest(9)
        assert (letter.reason, letter.event.message) == ("too odd", "event 1")
    assert messages(system) == ["event 0", "event 2"]


async def test_a_refusal_holds_events_until_credentials_change(node: Node) -> None:
    """Held and told, never dropped; a new log system gets everything at once."""
    refusing, good = ScriptedLogSystem(), ScriptedLogSystem()
    refusing.down = Refused("token disabled: put a valid token into cleo-log-system")
    node.write(4)
    async with node.running(refusing) as stream:
        await until(lambda: len(refusing.attempts) == 1)
        await until(lambda: node.condition("log-system") is Level.TROUBLE)
        assert "token disabled" in stream.status()["lastError"]
        await stream.rotate(good)  # the wait would be 15 s at least
        await until(lambda: len(good.received) == 4)
        assert node.condition("log-system") is Level.OK
    assert refusing.closed
    assert refusing.received == []


async def test_an_outage_loses_nothing(node: Node) -> None:
    """While the log system is down the log grows and rotates; then all of it arrives."""
    system = ScriptedLogSystem()
    system.down = Unavailable("connection refused", retry_after=0.01)
    async with node.running(system):
        for _ in range(3):
            node.write(150)
            node.log.rotate(node.home / "logs" / "archive")
        await until(lambda: len(system.attempts) >= 1)
        system.down = None
        await until(lambda: len(system.received) == 450)
    assert messages(system) == node.messages()


async def test_drain_delivers_to_the_end_of_the_log(node: Node) -> None:
    """Draining while the stream runs takes over, reads to the end and leaves nothing."""
    system = ScriptedLogSystem()
    async with node.running(system) as stream:
        node.write(300)
        assert await stream.drain(10) is None
    assert messages(system) == node.messages()


async def test_drain_counts_what_is_left_at_the_deadline(node: Node) -> None:
    """With the log system down the deadline is kept, and the next start delivers the rest."""
    system = ScriptedLogSystem()
    system.down = Unavailable("down")
    node.write(350)
    async with node.running(system) as stream:
        assert await stream.drain(0.3) == 350
    system = ScriptedLogSystem()
    async with node.running(system):
        await until(lambda: len(system.received) == 350)
    assert messages(system) == node.messages()


async def test_an_unusable_state_directory_is_told_and_tried_again(node: Node) -> None:
    """Nothing is delivered while progress can't be kept; it goes on by itself afterwards."""
    system = ScriptedLogSystem()
    blocker = node.state / "logs.db"
    blocker.mkdir()
    node.write(1)
    async with node.running(system):
        await until(lambda: "log-checkpoint" in {c.name for c in node.health.conditions()})
        assert node.condition("log-checkpoint") is Level.TROUBLE
        assert not system.attempts
        blocker.rmdir()
        await until(lambda: len(system.received) == 1)


async def test_a_damaged_checkpoint_is_set_aside(node: Node) -> None:
    """Garbage in place of the database: the log is read anew from its top."""
    (node.state / "logs.db").write_bytes(os.urandom(8192))
    node.write(2)
    system = ScriptedLogSystem()
    async with node.running(system):
        await until(lambda: len(system.received) == 2)
    assert any(path.name.startswith("logs.db.damaged-") for path in node.state.iterdir())


async def test_an_unreadable_log_is_told_and_tried_again(node: Node) -> None:
    """A log that can't be opened is trouble, not the end."""
    system = ScriptedLogSystem()
    node.write(1)
    real = node.log.path.rename(node.home / "kept.xml")
    node.log.path.mkdir()
    async with node.running(system):
        await until(lambda: any(c.level is Level.TROUBLE for c in node.health.conditions()))
        node.log.path.rmdir()
        real.rename(node.log.path)
        await until(lambda: len(system.received) == 1)


async def test_search_leaves_repeats_out(node: Node) -> None:
    """An event that was delivered twice shows once."""
    system = ScriptedLogSystem()
    node.write(2)
    async with node.running(system) as stream:
        await until(lambda: len(system.received) == 2)
        system.received += system.received[:1]
        page = await stream.search(Query())
    assert [event["message"] for event in page.resources] == ["event 0", "event 1"]
