"""A query string becomes a question, or a sentence that says what is wrong with it."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.logs.params import PARAMETERS, parse
from harmony_agent.logs.query import Query, QueryError

NOW = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)


def test_nothing_asked_is_the_newest_hundred_of_everything() -> None:
    """Without parameters, and with all of them empty, the defaults hold."""
    assert parse({}, NOW) == Query()
    assert parse(dict.fromkeys(PARAMETERS, ""), NOW) == Query()
    assert (Query().order, Query().count, Query().start_index) == ("desc", 100, 0)


def test_every_parameter_has_its_place() -> None:
    """Each name of the design lands in its own field."""
    query = parse(
        {
            "from": "2026-08-01T10:00:00Z",
            "to": "2026-08-01T11:00:00Z",
            "node": "harmony-0",
            "severity": "Error, critical,error",
            "element": "Result",
            "thread": "Thread-1",
            "host": "ACME",
            "mailbox": "main",
            "text": "not found",
            "order": "ASC",
            "startIndex": "20",
            "count": "5000",
        },
        NOW,
    )
    assert query == Query(
        since=NOW - timedelta(hours=2),
        until=NOW - timedelta(hours=1),
        node="harmony-0",
        severities=("error", "critical"),
        element="Result",
        thread="Thread-1",
        host="ACME",
        mailbox="main",
        text="not found",
        order="asc",
        start_index=20,
        count=5000,
    )


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-08-01T12:00:00Z", NOW),
        ("2026-08-01t12:00:00z", NOW),
        ("2026-08-01 12:00:00Z", NOW),
        ("2026-08-01T14:00:00+02:00", NOW),
        ("2026-08-01T14:00:00 02:00", NOW),  # an unescaped + in a URL
        ("2026-08-01T08:30:00-03:30", NOW),
        ("2026-08-01T12:00:00.25Z", NOW + timedelta(milliseconds=250)),
        ("2026-08-01T12:00:00.123456789Z", NOW + timedelta(microseconds=123456)),
        ("1785585600", NOW),
        ("1785585600.5", NOW + timedelta(milliseconds=500)),
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("now", NOW),
        (" now ", NOW),
        ("-15m", NOW - timedelta(minutes=15)),
        ("now-15m", NOW - timedelta(minutes=15)),
        ("-1h30m", NOW - timedelta(minutes=90)),
        ("-7d", NOW - timedelta(days=7)),
    ],
)
def test_moments_come_in_three_forms(value: str, moment: datetime) -> None:
    """RFC 3339, seconds since 1970 and a time ago all become aware UTC times."""
    since = parse({"from": value}, NOW).since
    assert since == moment
    assert since.tzinfo is UTC


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"sevrity": "error"}, ["'sevrity'", "did you mean 'severity'"]),
        ({"startindex": "1"}, ["did you mean 'startIndex'"]),
        ({"q": "x"}, ["unknown parameter 'q'", "mailbox"]),
        ({"severity": "warn"}, ["'severity'", "'warn'", "did you mean 'warning'"]),
        ({"severity": "x"}, ["'severity'", "critical"]),
        ({"order": "up"}, ["'order'", "asc or desc"]),
        ({"count": "0"}, ["'count'", "from 1 to 5000"]),
        ({"count": "5001"}, ["'count'", "from 1 to 5000"]),
        ({"count": "1_0"}, ["'count'"]),
        ({"count": "-1"}, ["'count'"]),
        ({"count": "9" * 5000}, ["'count'"]),
        ({"startIndex": "10001"}, ["'startIndex'", "from 0 to 10000"]),
        ({"startIndex": "1", "cursor": "x"}, ["'startIndex' and 'cursor' exclude"]),
        ({"cursor": "x"}, ["'cursor' is damaged", "'next'"]),
        ({"from": "yesterday"}, ["'from'", "RFC 3339", "-15m"]),
        ({"from": "-15"}, ["'from'", "duration such as 30s"]),
        ({"from": "-99999999999d"}, ["'from'"]),
        ({"from": "2026-08-01"}, ["'from'", "needs time and zone"]),
        ({"to": "2026-08-01T12:00:00"}, ["'to'", "needs time and zone"]),
        ({"to": "2026-02-30T12:00:00Z"}, ["'to'", "no moment of the calendar"]),
        ({"to": "0001-01-01T00:00:00+12:00"}, ["'to'"]),
        ({"from": "1785585600000"}, ["'from'", "milliseconds"]),
        ({"from": "now", "to": "-1h"}, ["'from' (now)", "'to' (-1h)"]),
    ],
)
def test_a_wrong_parameter_is_named_with_what_would_be_right(
    params: dict[str, str], words: list[str]
) -> None:
    """Every mistake ends as one QueryError a person can act on."""
    with pytest.raises(QueryError) as caught:
        parse(params, NOW)
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.dictionaries(st.sampled_from(PARAMETERS), st.text(max_size=40), max_size=4))
def test_no_text_whatever_breaks_it(params: dict[str, str]) -> None:
    """Any text gives a question within its limits or a QueryError, nothing else."""
    try:
        query = parse(params, NOW)
    except QueryError:
        return
    assert 1 <= query.count <= 5000
    assert 0 <= query.start_index <= 10_000
    assert query.since is None or query.since.tzinfo is UTC


@given(
    st.datetimes(
        min_value=datetime(1971, 1, 1),  # noqa: DTZ001 - hypothesis adds the zones itself
        max_value=datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
    )
)
def test_every_rfc_3339_moment_is_read_as_written(moment: datetime) -> None:
    """Whatever the offset, the moment is the same."""
    assert parse({"from": moment.isoformat(timespec="microseconds")}, NOW).since == moment


def test_times_are_in_utc_whatever_the_clocks_zone() -> None:
    """A log system that prints times prints them in UTC."""
    now = NOW.astimezone(timezone(timedelta(hours=2)))
    since = parse({"from": "-1h"}, now).since
    assert since is not None
    assert since.tzinfo is UTC


def test_without_a_clock_given_relative_times_count_from_the_present() -> None:
    """`-1h` is an hour before the call."""
    before = datetime.now(UTC)
    since: Any = parse({"from": "-1h"}).since
    assert timedelta(hours=1) <= datetime.now(UTC) - since
    assert before - since <= timedelta(hours=1)
