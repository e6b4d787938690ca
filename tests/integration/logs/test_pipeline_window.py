"""Several batches in flight: at once, out of order, and none of it lost."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from harmony_agent.core.errors import Unavailable
from harmony_agent.logs.event import Event
from harmony_agent.logs.systems.interface import Limits, Receipt
from tests.integration.logs.scripted import ScriptedLogSystem
from tests.integration.logs.test_pipeline_stream import Node, until


class Gated(ScriptedLogSystem):
    """Four batches at once; each waits until its first event's number is let through."""

    concurrency = 4
    limits = Limits(entries=10, size=1024 * 1024)

    def __init__(self) -> None:
        super().__init__()
        self.held: set[int] = set()  # numbers of first events
        self.waiting: set[int] = set()

    async def send(self, events: Sequence[Event]) -> Receipt:
        """Wait while held."""
        first = events[0].number
        self.waiting.add(first)
        try:
            while first in self.held:
                await asyncio.sleep(0.005)
        finally:
            self.waiting.discard(first)
        return await super().send(events)


async def test_the_checkpoint_waits_for_the_first_batch(tmp_path: Path) -> None:
    """Later batches arrive while an earlier one hangs: after a restart exactly the events from the
    hanging one on are sent again, and all are there."""
    node = Node(tmp_path)
    node.log.start()
    system = Gated()
    system.held = {31}
    node.write(200)
    async with node.running(system):
        await until(lambda: 31 in system.waiting and not system.waiting - {31})
        await until(lambda: any(event.number > 40 for event in system.received))
        arrived = {event.number for event in system.received}
    assert 31 not in arrived
    again = ScriptedLogSystem()
    async with node.running(again):
        await until(lambda: len(again.received) == 170)
    assert [event.number for event in again.received] == list(range(31, 201))
    assert arrived | {event.number for event in again.received} == set(range(1, 201))
    ids = {event.number: event.id for event in again.received}
    assert all(ids.get(event.number, event.id) == event.id for event in system.received)


async def test_several_batches_are_on_their_way_at_once(tmp_path: Path) -> None:
    """With a log system that bears it, four: no more, and no fewer once it has grown."""
    node = Node(tmp_path)
    node.log.start()
    system = Gated()
    node.write(1000)
    async with node.running(system):
        await until(lambda: len(system.received) > 300)
        system.held = set(range(1001))
        await until(lambda: len(system.waiting) == 4)
        system.held = set()
        await until(lambda: len(system.received) == 1000)
    assert {event.number for event in system.received} == set(range(1, 1001))


class Moody(Gated):
    """Fails, takes parts, takes its time."""

    async def send(self, events: Sequence[Event]) -> Receipt:
        """Roll the dice."""
        await asyncio.sleep(random.random() * 0.01)
        dice = random.random()
        if dice < 0.1:
            raise Unavailable("busy", retry_after=0.001)
        taken = len(events) if dice < 0.8 else random.randint(1, len(events))
        self.received += events[:taken]
        if dice > 0.95:
            raise OSError("nobody foresaw this")
        return Receipt(taken)


async def test_a_stream_stopped_at_random_loses_nothing(tmp_path: Path) -> None:
    """Twenty stops with batches in flight at a log system in a bad mood: every event arrives,
    repeats bear the same id."""
    node = Node(tmp_path)
    node.log.start()
    system = Moody()
    for _ in range(20):
        node.write(60)
        stream = node.stream(system)
        running = asyncio.create_task(stream.run())
        await asyncio.sleep(random.uniform(0.01, 0.15))  # a random moment is the point
        running.cancel()
        _, unfinished = await asyncio.wait([running], timeout=30)
        assert not unfinished, "a canceled stream goes on"
        await stream.close()
        system.closed = False
    last = ScriptedLogSystem()
    async with node.running(last) as stream:
        await until(lambda: stream.status()["pendingEvents"] == 0)
        assert await stream.drain(10) is None
    received = [*system.received, *last.received]
    assert {event.message for event in received} == set(node.messages())
    assert len({event.id for event in received}) == node.written
