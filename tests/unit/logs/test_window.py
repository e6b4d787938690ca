"""The window of batches in flight: its size, and progress in whatever order they are done with."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.logs.event import Event
from harmony_agent.logs.pipeline.window import Batch, InFlight, Window
from harmony_agent.logs.sources.position import Position


def event(number: int) -> Event:
    """An event whose number tells its place."""
    return Event(
        f"{number:032x}", datetime(2026, 3, 10, tzinfo=UTC), "S", "n", None, "", number, None,
        None, "End", "info", "End",
    )  # fmt: skip


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 8))
def test_the_window_stays_within_its_bounds(outcomes: list[bool], ceiling: int) -> None:
    """From one batch to the ceiling, whatever happens; never more than one more for a success,
    and half for a failure."""
    window = Window()
    for good in outcomes:
        before = window.size
        if good:
            window.succeeded(ceiling)
            assert before <= window.size <= min(before + 1, ceiling)
        else:
            window.failed()
            assert window.size == max(1, before // 2)


def test_the_window_grows_by_one_a_round() -> None:
    """One success takes it from one to two, two more to three, and so on."""
    window = Window()
    sizes = []
    for _ in range(7):
        window.succeeded(4)
        sizes.append(window.size)
    assert sizes == [2, 2, 3, 3, 3, 4, 4]


def test_a_lower_ceiling_counts_at_once() -> None:
    """A log system that takes less at once takes the place of another."""
    window = Window(size=4)
    window.succeeded(1)
    assert window.size == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 4)),
        st.tuples(st.just("skip"), st.just(0)),
        st.tuples(st.integers(0, 5), st.integers(1, 4)),
    ),
    max_size=60,
)


@given(STEPS)
def test_progress_is_the_acknowledged_prefix(steps: list[tuple[str | int, int]]) -> None:
    """Whichever batches are done with, in parts or whole and in any order: no event before the
    remembered place is undone, none after it is skipped, and what is in flight is the rest."""
    flight = InFlight()
    read = progress = 0  # offsets: one for each event or gap
    undone: set[int] = set()
    for what, count in steps:
        match what:
            case "add":
                events = [event(number) for number in range(read, read + count)]
                undone |= {e.number for e in events}
                read += count
                flight.add(Batch(events, Position(0, offset=read), count))
            case "skip":
                if flight.extend(Position(0, offset=read + 1)):
                    read += 1
            case int():
                batch = list(flight)[what] if what < len(flight) else None
                if batch is not None:
                    undone -= {e.number for e in batch.events[:count]}
                    batch.events = batch.events[count:]
        place = flight.advance()
        if place is not None:
            assert place.offset > progress
            progress = place.offset
        assert progress <= min(undone, default=read)
        assert {e.number for batch in flight for e in batch.events} == undone
        assert flight.pending == len(undone)
    assert (progress == read) == (not undone)
