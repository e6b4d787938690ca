"""Waits between attempts."""

from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.core.backoff import Backoff


@given(st.integers(1, 200), st.floats(0.1, 10), st.floats(10, 600))
def test_waits_stay_between_floor_and_ceiling(attempts: int, first: float, ceiling: float) -> None:
    """However many attempts fail, no wait is shorter than the floor or longer than the ceiling."""
    backoff = Backoff(first=first, ceiling=ceiling)
    for _ in range(attempts):
        assert backoff.floor <= backoff.next() <= max(ceiling, backoff.floor)


@given(st.floats(0, 10_000))
def test_what_the_other_side_asks_for_is_obeyed(retry_after: float) -> None:
    """`Retry-After` is a lower bound, beyond our own ceiling too."""
    assert Backoff().next(retry_after) >= retry_after


def test_a_success_starts_over() -> None:
    """After `reset` the next wait is drawn from the first ceiling again."""
    backoff = Backoff(first=1, ceiling=1000)
    for _ in range(20):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 1
