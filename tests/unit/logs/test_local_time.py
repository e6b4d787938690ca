"""Harmony's local times become UTC, and never run backwards."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.logs.sources.local_time import LocalTime

BERLIN = LocalTime(ZoneInfo("Europe/Berlin"))


def test_summer_and_winter_have_their_own_offset() -> None:
    """The zone's rules count, not one offset."""
    assert BERLIN.to_utc("2026/01/10 08:00:00", None) == datetime(2026, 1, 10, 7, tzinfo=UTC)
    assert BERLIN.to_utc("2026/07/10 08:00:00", None) == datetime(2026, 7, 10, 6, tzinfo=UTC)


def test_without_a_zone_the_process_is_asked() -> None:
    """`TZ` of the process counts when none is configured."""
    local = datetime(2026, 3, 10, 8).astimezone()
    assert LocalTime(None).to_utc("2026/03/10 08:00:00", None) == local


@pytest.mark.parametrize("date", ["", "soon", "2026/13/01 00:00:00", "2026/03/10", "\uff10" * 19])
def test_what_is_no_date_is_none(date: str) -> None:
    """Nothing is guessed."""
    assert BERLIN.to_utc(date, None) is None


def test_threads_out_of_order_do_not_jump_an_hour() -> None:
    """A step back of some seconds within the hour that comes twice stays in the first one."""
    last = BERLIN.to_utc("2026/10/25 02:30:05", datetime(2026, 10, 25, 0, 20, tzinfo=UTC))
    assert last == datetime(2026, 10, 25, 0, 30, 5, tzinfo=UTC)
    again = BERLIN.to_utc("2026/10/25 02:30:04", last)
    assert again == datetime(2026, 10, 25, 0, 30, 4, tzinfo=UTC)


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=30))
def test_a_log_through_the_hour_that_comes_twice_is_monotone(steps: list[int]) -> None:
    """However far apart events are, their times never fall, and are right outside that hour."""
    zone = ZoneInfo("Europe/Berlin")
    moment = datetime(2026, 10, 24, 23, 50, tzinfo=UTC)
    last = None
    for step in steps:
        moment += timedelta(seconds=step)
        written = moment.astimezone(zone).strftime("%Y/%m/%d %H:%M:%S")
        read = BERLIN.to_utc(written, last)
        assert read is not None
        assert last is None or read >= last
        assert read in (moment, moment - timedelta(hours=1))
        if moment >= datetime(2026, 10, 25, 2, tzinfo=UTC):
            assert read == moment
        last = read
