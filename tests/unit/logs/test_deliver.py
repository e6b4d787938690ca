"""How deliveries are retried, in virtual time."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.lifecycle.health import Health, Level
from harmony_agent.logs.event import Event
from harmony_agent.logs.pipeline.dead_letters import DeadLetters
from harmony_agent.logs.pipeline.deliver import SEND_LIMIT, Delivery
from harmony_agent.logs.systems.current import CurrentLogSystem
from harmony_agent.logs.systems.interface import DeadLetter, Receipt
from tests.integration.logs.scripted import ScriptedLogSystem

EVENTS = [
    Event(
        f"{n:032x}", datetime(2026, 3, 10, tzinfo=UTC), "S", "n", None, "", n, None, None, "End",
        "info", "End",
    )
    for n in range(3)
]  # fmt: skip


class Bench:
    """A delivery to a scripted log system."""

    def __init__(self, directory: Path, *script: object) -> None:
        self.system = ScriptedLogSystem(*script)  # type: ignore[arg-type]  # the test's own
        self.current = CurrentLogSystem(self.system)
        self.health = Health()
        self.beats = 0
        self.letters = DeadLetters(directory)
        self.delivery = Delivery(self.current, self.letters, self.health, self._beat)

    def _beat(self) -> None:
        self.beats += 1

    async def deliver(self, events: Sequence[Event] = EVENTS) -> list[float]:
        """Deliver all; the waits between attempts in seconds."""
        while events:
            events = events[await self.delivery.attempt(events) :]
        moments = self.system.attempts
        return [later - earlier for earlier, later in pairwise(moments)]

    def level(self) -> Level:
        """The level of the health condition."""
        return next(c.level for c in self.health.conditions() if c.name == "log-system")


@pytest.mark.looptime
async def test_waits_grow_to_a_ceiling(tmp_path: Path) -> None:
    """Twenty failures: no wait beyond 30 s, none without a floor, and the loop beats each time."""
    bench = Bench(tmp_path, *[Unavailable("down")] * 20)
    waits = await bench.deliver()
    assert len(waits) == 20
    assert all(0.099 < wait < 30.01 for wait in waits)
    assert max(waits) > 5
    assert bench.beats == 21
    assert bench.level() is Level.OK


@pytest.mark.looptime
async def test_retry_after_is_obeyed(tmp_path: Path) -> None:
    """The other side's word counts, also beyond our own ceiling."""
    waits = await Bench(tmp_path, Unavailable("busy", retry_after=77)).deliver()
    assert waits == [pytest.approx(77)]


@pytest.mark.looptime
async def test_a_timer_that_goes_off_a_hair_early_ends_the_wait(tmp_path: Path) -> None:
    """Timers are due within the clock's resolution of a nanosecond: the delivery does not spin for
    the rest, which in virtual time would never pass."""
    waits = await Bench(tmp_path, Unavailable("busy", retry_after=1 + 5e-10)).deliver()
    assert waits == [pytest.approx(1)]


@pytest.mark.looptime
async def test_a_refusal_is_asked_again_slowly(tmp_path: Path) -> None:
    """Between 15 s and 5 min, for ever; the events are held."""
    bench = Bench(tmp_path, *[Refused("token disabled")] * 8)
    waits = await bench.deliver()
    assert all(14.9 < wait < 300.1 for wait in waits)
    assert [e.number for e in bench.system.received] == [0, 1, 2]


@pytest.mark.looptime
async def test_trouble_is_shown_while_it_lasts(tmp_path: Path) -> None:
    """The condition says what is wrong until a delivery succeeds."""
    bench = Bench(tmp_path, Unavailable("connection refused"))
    task = asyncio.create_task(bench.deliver())
    await asyncio.sleep(0.05)
    assert bench.level() is Level.TROUBLE
    assert "connection refused" in bench.delivery.last_error
    await task
    assert bench.level() is Level.OK
    assert bench.delivery.last_error == ""


@pytest.mark.looptime
async def test_a_log_system_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """No silent stand-still: after the limit it counts as unavailable and is asked again."""
    bench = Bench(tmp_path)

    async def hang(events: Sequence[Event]) -> Receipt:
        bench.system.attempts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(10 * SEND_LIMIT)
        raise AssertionError

    bench.system.send = hang  # type: ignore[method-assign]
    task = asyncio.create_task(bench.deliver())
    await asyncio.sleep(SEND_LIMIT + 31)
    assert len(bench.system.attempts) == 2
    assert "no answer within 600 s" in bench.delivery.last_error
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.looptime
@pytest.mark.parametrize("count", [0, -1, 4])
async def test_an_impossible_receipt_is_no_progress(tmp_path: Path, count: int) -> None:
    """Acknowledging nothing, or more than was sent, neither loops hotly nor loses events."""
    bench = Bench(tmp_path, lambda _: Receipt(count))
    waits = await bench.deliver()
    assert waits[0] > 0.099
    assert bench.beats == 2


@pytest.mark.looptime
async def test_a_pause_is_kept(tmp_path: Path) -> None:
    """The log system asks to slow down: the next batch waits."""
    waits = await Bench(tmp_path, lambda _: Receipt(1, pause=7)).deliver()
    assert waits == [pytest.approx(7)]


@pytest.mark.looptime
async def test_batches_keep_the_limit_of_the_log_system(tmp_path: Path) -> None:
    """Also when it was replaced by one that takes less at once."""
    bench = Bench(tmp_path)
    await bench.deliver(EVENTS * 80)
    assert len(bench.system.attempts) == 3


@pytest.mark.looptime
async def test_a_new_log_system_ends_the_wait(tmp_path: Path) -> None:
    """Rotated credentials take effect at once; the old system is closed after its last use."""
    bench = Bench(tmp_path, Refused("old token"))
    task = asyncio.create_task(bench.deliver())
    await asyncio.sleep(1)
    new = ScriptedLogSystem()
    await bench.current.replace(new)
    await asyncio.sleep(0.1)
    assert len(new.received) == 3
    assert bench.system.closed
    await task


@pytest.mark.looptime
async def test_dead_letters_that_cannot_be_kept_are_not_acknowledged(tmp_path: Path) -> None:
    """A full disk: the event is sent again later rather than forgotten."""

    def refuse_first(events: Sequence[Event]) -> Receipt:
        return Receipt(len(events), (DeadLetter(events[0], "odd"),))

    bench = Bench(tmp_path / "missing", refuse_first, refuse_first)
    assert await bench.delivery.attempt(EVENTS) == 0
    assert "dead-letters.db can't be used" in bench.delivery.last_error
    (tmp_path / "missing").mkdir()
    assert await bench.delivery.attempt(EVENTS) == 3
    letters = DeadLetters(tmp_path / "missing")
    assert [letter.reason for letter in await letters.newest(9)] == ["odd"]
    await letters.close()
    await bench.letters.close()


@pytest.mark.looptime
async def test_a_fault_of_a_library_does_not_end_the_stream(tmp_path: Path) -> None:
    """An exception that nobody foresaw is told, counted, and the events are sent again."""
    bench = Bench(tmp_path, ZeroDivisionError("a bug"), KeyError("another"))
    assert await bench.delivery.attempt(EVENTS) == 0
    assert bench.level() is Level.TROUBLE
    assert "fault of the agent itself: ZeroDivisionError" in bench.delivery.last_error
    waits = await bench.deliver()
    assert all(0.099 < wait < 30.01 for wait in waits)
    assert [e.number for e in bench.system.received] == [0, 1, 2]
    assert bench.level() is Level.OK


class Wide(ScriptedLogSystem):
    """Takes four batches at once, each for a second; tells how many there were."""

    concurrency = 4

    def __init__(self, *script: object) -> None:
        super().__init__(*script)  # type: ignore[arg-type]  # the test's own
        self.now = self.most = 0

    async def send(self, events: Sequence[Event]) -> Receipt:
        """Count who is there."""
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(1)
            return await super().send(events)
        finally:
            self.now -= 1


@pytest.mark.looptime
async def test_retry_after_holds_all_batches(tmp_path: Path) -> None:
    """One of four is told to come back in 77 s: the others that begin later wait as long."""
    bench = Bench(tmp_path)
    bench.system = Wide(Unavailable("busy", retry_after=77))
    await bench.current.replace(bench.system)
    begun = asyncio.get_running_loop().time()
    assert await bench.delivery.attempt(EVENTS) == 0
    await asyncio.gather(*(bench.delivery.attempt(EVENTS) for _ in range(4)))
    moments = [moment - begun for moment in bench.system.attempts]
    assert moments[1:] == [pytest.approx(79)] * 4


@pytest.mark.looptime
async def test_batches_that_fail_together_are_one_failure(tmp_path: Path) -> None:
    """Four in flight get 503: the window is halved once, and waits do not grow fourfold."""
    bench = Bench(tmp_path)
    bench.system = Wide(*[Unavailable("busy")] * 4)
    await bench.current.replace(bench.system)
    bench.delivery.window.size = 4
    await asyncio.gather(*(bench.delivery.attempt(EVENTS) for _ in range(4)))
    assert bench.delivery.window.size == 2
    assert await bench.delivery.attempt(EVENTS) == 3
    assert bench.system.attempts[4] - bench.system.attempts[3] < 2.01  # one second and the send


@pytest.mark.looptime
async def test_an_old_success_does_not_hide_a_failure(tmp_path: Path) -> None:
    """A batch that began before the failure of another says nothing about the time since."""
    bench = Bench(tmp_path)

    async def fail_second(events: Sequence[Event]) -> Receipt:
        if len(events) == 1:
            raise Unavailable("gone")
        await asyncio.sleep(5)
        return Receipt(len(events))

    bench.system.send = fail_second  # type: ignore[method-assign]
    done = await asyncio.gather(bench.delivery.attempt(EVENTS), bench.delivery.attempt(EVENTS[:1]))
    assert tuple(done) == (3, 0)
    assert bench.level() is Level.TROUBLE


@pytest.mark.looptime
async def test_a_failure_of_the_replaced_log_system_does_not_hold_the_new_one(
    tmp_path: Path,
) -> None:
    """The old one answers "refused" after it was replaced: the new one is asked at once."""
    bench = Bench(tmp_path)

    async def refuse_late(events: Sequence[Event]) -> Receipt:
        await asyncio.sleep(5)
        raise Refused("old token")

    bench.system.send = refuse_late  # type: ignore[method-assign]
    attempt = asyncio.create_task(bench.delivery.attempt(EVENTS))
    await asyncio.sleep(1)
    new = ScriptedLogSystem()
    await bench.current.replace(new)
    assert await attempt == 0
    begun = asyncio.get_running_loop().time()
    assert await bench.delivery.attempt(EVENTS) == 3
    assert asyncio.get_running_loop().time() - begun < 0.1
