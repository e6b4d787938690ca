"""When the log is looked at, and what happens when it can't be read, in virtual time."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from harmony_agent.lifecycle.health import Health, Level
from harmony_agent.logs.pipeline import feed as feed_module
from harmony_agent.logs.pipeline.feed import CONDITION, Feed
from harmony_agent.logs.sources.position import Position
from harmony_agent.logs.sources.tail import Reading
from harmony_agent.logs.systems.interface import Limits
from tests.unit.sync.bench import InlineWorkers

LIMITS = Limits(entries=1000, size=1024 * 1024)
POLL = 0.25


class FakeTail:
    """A log to which `written` bytes were written; reads take no time."""

    def __init__(self) -> None:
        self.written = 0
        self.looks: list[float] = []
        self.failures: list[Exception] = []

    def read(self, position: Position, limits: Limits) -> Reading:
        """All of it as one event, unless `failures` holds what goes wrong."""
        self.looks.append(asyncio.get_running_loop().time())
        if self.failures:
            raise self.failures.pop(0)
        if position.offset == self.written:
            return Reading([], position)
        return Reading([None], replace(position, offset=self.written))  # type: ignore[list-item]  # only counted


class FakeWatch:
    """Tells of what happens as soon as `noticed` is set; `begin` forgets it."""

    def __init__(self) -> None:
        self.noticed = asyncio.Event()

    def begin(self) -> None:
        """As LogWatch.begin."""
        self.noticed.clear()

    async def written(self, seconds: float) -> None:
        """As LogWatch.written."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.noticed.wait()


class Bench:
    """A feed that is asked again and again, as the pump does it."""

    def __init__(self) -> None:
        self.tail, self.watch, self.health = FakeTail(), FakeWatch(), Health()
        untyped: Any = Feed
        self.feed: Feed = untyped(self.tail, self.watch, self.health, lambda: None)
        self.arrived: list[float] = []

    async def run(self, seconds: float) -> None:
        """For so long."""
        position = Position(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await self.feed.pause()
                    reading = await self.feed.next(position, LIMITS)
                    position = reading.after
                    self.arrived += [asyncio.get_running_loop().time()] * len(reading.events)

    def write(self, *, noticed: bool) -> None:
        """One event; the kernel tells it if `noticed`."""
        self.tail.written += 1
        if noticed:
            self.watch.noticed.set()

    def waits(self) -> list[float]:
        """Seconds from look to look."""
        return [later - earlier for earlier, later in pairwise(self.tail.looks)]

    def level(self) -> Level:
        """The level of the health condition."""
        return next(c.level for c in self.health.conditions() if c.name == CONDITION)


@pytest.fixture
def new_bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Bench]:
    """Makes a bench within the test's loop."""
    monkeypatch.setattr(feed_module, "Workers", lambda *_: InlineWorkers())
    return Bench


@pytest.mark.looptime
async def test_a_notice_ends_the_wait(new_bench: Callable[[], Bench]) -> None:
    """An event that the kernel tells of is read at once, however long the log was quiet."""
    bench = new_bench()
    running = asyncio.create_task(bench.run(21))
    await asyncio.sleep(20.11)
    bench.write(noticed=True)
    written = asyncio.get_running_loop().time()
    await running
    [arrived] = bench.arrived
    assert arrived - written < 0.001


@pytest.mark.looptime
async def test_a_log_is_polled_as_well(new_bench: Callable[[], Bench]) -> None:
    """Without any notice four times a second, half as often once it is quiet; an event that is
    told by nobody is read by the next poll."""
    bench = new_bench()
    running = asyncio.create_task(bench.run(21))
    await asyncio.sleep(20.11)
    bench.write(noticed=False)
    written = asyncio.get_running_loop().time()
    await running
    [arrived] = bench.arrived
    assert arrived - written <= 0.5
    assert bench.waits()[:10] == pytest.approx([POLL] * 10)
    assert bench.waits()[25:30] == pytest.approx([2 * POLL] * 5)


@pytest.mark.looptime
@pytest.mark.parametrize("whole", [True, False], ids=["events", "no event is whole"])
async def test_a_busy_log_is_looked_at_ten_times_a_second_at_most(
    new_bench: Callable[[], Bench], whole: bool
) -> None:
    """A thousand notices a second cost no more looks, also when each finds nothing to deliver."""
    bench = new_bench()
    running = asyncio.create_task(bench.run(3))
    for _ in range(2900):
        await asyncio.sleep(0.001)
        bench.write(noticed=True)
        if not whole:
            bench.tail.written = 0
    await running
    assert min(bench.waits()[1:]) >= 0.1 - 1e-6
    assert len(bench.tail.looks) >= 25


@pytest.mark.looptime
async def test_a_fault_of_the_reader_is_told_and_tried_again(
    new_bench: Callable[[], Bench],
) -> None:
    """Whatever reading raises, the stream goes on: trouble until a read succeeds, then none."""
    bench = new_bench()
    bench.tail.failures = [ValueError("a bug"), OSError("EIO"), RecursionError()]
    bench.write(noticed=False)
    levels = []

    async def look() -> None:
        while bench.tail.failures:
            await asyncio.sleep(0.01)
            if len(bench.tail.looks) and bench.tail.failures:
                levels.append(bench.level())

    await asyncio.gather(look(), bench.run(60))
    assert set(levels) == {Level.TROUBLE}
    assert len(bench.arrived) == 1
    assert bench.level() is Level.OK
    assert min(bench.waits()) >= 0.1 - 1e-6
