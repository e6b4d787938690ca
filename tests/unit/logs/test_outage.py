"""When a log system counts as down: nothing here waits, time is a number."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.logs.pipeline.outage import Look, followed, is_down

TURN = 5.0  # seconds from look to look


def first_outage(
    seconds: float, arriving: Callable[[float], float], taking: float, backlog: float = 0.0
) -> float | None:
    """When a log system counts as down that takes `taking` events a second of what is `arriving`
    (events a second, by time) and of a `backlog`; None if it does not within `seconds`."""
    looks: tuple[Look, ...] = ()
    delivered, waiting, moved = 0.0, backlog, 0.0
    now = 0.0
    while now < seconds:
        looks = followed(looks, Look(now, int(delivered), int(waiting)))
        if is_down(now - moved if waiting else 0.0, looks):
            return now
        now += TURN
        taken = min(waiting + arriving(now) * TURN, taking * TURN)
        waiting += arriving(now) * TURN - taken
        if int(delivered + taken) > int(delivered) or not waiting:
            moved = now
        delivered += taken
    return None


def test_without_any_delivery_it_is_down_after_half_a_minute() -> None:
    """Whatever is known of the pace, and not before."""
    assert not is_down(29.9, ())
    assert is_down(30.0, ())
    assert first_outage(600, lambda _: 10.0, taking=0.0) == pytest.approx(30.0)


def test_one_event_now_and_then_is_as_good_as_none() -> None:
    """An event each ten seconds resets the wait for a delivery, but not the backlog."""
    assert first_outage(600, lambda _: 10.0, taking=0.1) == pytest.approx(35.0, abs=TURN)
    assert first_outage(600, lambda _: 0.0, taking=0.1, backlog=100_000) == pytest.approx(30.0)


def test_a_log_system_that_keeps_up_is_never_down() -> None:
    """A day of any steady load that it takes, and of rare events."""
    day = 86_400
    assert first_outage(day, lambda _: 1_000.0, taking=1_000.0) is None
    assert first_outage(day, lambda now: 0.2 if now % 600 < TURN else 0.0, taking=5.0) is None


def test_what_an_outage_left_may_be_worked_off() -> None:
    """A great backlog at a pace that ends it within five minutes is no outage; one that takes
    hours is, as these events are nowhere else."""
    assert first_outage(3600, lambda _: 100.0, taking=10_000.0, backlog=2_500_000) is None
    assert first_outage(3600, lambda _: 100.0, taking=200.0, backlog=2_500_000) is not None


def test_a_log_system_a_little_too_slow_is_down_before_events_wait_for_long() -> None:
    """It takes nine of ten events: once what waits is worth more than five minutes."""
    moment = first_outage(7200, lambda _: 100.0, taking=90.0)
    assert moment is not None
    waiting = moment * 10
    assert 300 <= waiting / 90 <= 330


def test_a_moment_when_nothing_waits_begins_anew() -> None:
    """The pace is measured over time in which events waited."""
    looks = followed((Look(0.0, 0, 5), Look(5.0, 0, 5)), Look(10.0, 5, 0))
    assert looks == ()
    assert followed(looks, Look(15.0, 5, 1)) == (Look(15.0, 5, 1),)


@given(
    st.lists(st.tuples(st.floats(0.1, 60), st.integers(0, 50), st.integers(0, 1000)), max_size=100)
)
def test_the_looks_that_are_kept_span_half_a_minute_and_no_more_than_needed(
    steps: list[tuple[float, int, int]],
) -> None:
    """As many as there are since events wait, until they span thirty seconds: without the oldest
    they would not."""
    kept: tuple[Look, ...] = ()
    whole: list[Look] = []
    now, delivered = 0.0, 0
    for seconds, more, waiting in steps:
        now, delivered = now + seconds, delivered + more
        look = Look(now, delivered, waiting)
        kept = followed(kept, look)
        whole = [*whole, look] if waiting else []
        assert list(kept) == whole[len(whole) - len(kept) :]
        if len(kept) > 2:
            assert kept[-1].at - kept[1].at < 30.0
        if len(kept) < len(whole):
            assert kept[-1].at - kept[0].at >= 30.0
