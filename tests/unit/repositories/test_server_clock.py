"""Requests are signed by the server's time once ours turns out to be off."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from harmony_agent.repositories.http.answer import Head
from harmony_agent.repositories.objects.server_clock import ServerClock

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Wall:
    """A clock on the wall that can be turned."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        """What it shows."""
        return self.now


def refusal(date: datetime, status: int = 403) -> Head:
    """An answer of a server whose clock says `date`."""
    return Head(status, {"date": format_datetime(date, usegmt=True)})


@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(days=-400), timedelta(minutes=6)])
def test_a_refusal_tells_the_servers_time(off: timedelta, caplog: pytest.LogCaptureFixture) -> None:
    """It is taken over once, told, and goes on from there with our clock."""
    wall = Wall()
    clock = ServerClock("s3.test", wall=wall)
    assert clock.now() == NOON
    assert clock.corrected(refusal(NOON + off))
    assert clock.now() == NOON + off
    wall.now += timedelta(seconds=90)
    assert clock.now() == NOON + off + timedelta(seconds=90)
    assert not clock.corrected(refusal(clock.now())), "a second refusal has another reason"
    (record,) = caplog.records
    assert "s3.test" in record.message
    assert vars(record)["server_ahead_s"] == off.total_seconds()


def test_a_clock_that_is_set_right_again_is_followed() -> None:
    """What was added before would be wrong now."""
    wall = Wall()
    clock = ServerClock("s3.test", wall=wall)
    clock.corrected(refusal(NOON + timedelta(hours=1)))
    wall.now += timedelta(hours=1)
    assert clock.corrected(refusal(wall.now))
    assert clock.now() == wall.now


@pytest.mark.parametrize(
    "answer",
    [
        refusal(NOON + timedelta(minutes=4)),
        refusal(NOON + timedelta(hours=1), status=404),
        refusal(NOON + timedelta(hours=1), status=200),
        Head(403, {}),
        Head(403, {"date": "yesterday"}),
        Head(403, {"date": "Sat, 21 Nov 2026 10:00:00 -0000"}),
    ],
)
def test_other_answers_leave_the_clock_alone(answer: Head) -> None:
    """A wrong key, an answer to something else, a date that is none or names no zone."""
    clock = ServerClock("s3.test", wall=Wall())
    assert not clock.corrected(answer)
    assert clock.now() == NOON
