"""Pages of one question stay pages of that question."""

from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.logs.params import envelope, parse
from harmony_agent.logs.query import Page, Query, QueryError

NOW = datetime(2026, 8, 1, 12, 0, 0, 123456, tzinfo=UTC)


def test_a_relative_range_stays_where_it_was_for_the_later_pages() -> None:
    """`from=-15m` asked again a minute later with the cursor means the same quarter of an hour."""
    first = parse({"from": "-15m", "text": "x"}, NOW)
    cursor = envelope(first, Page(2, [{}], "inner"))["next"]
    later = NOW + timedelta(minutes=1)
    second = parse({"from": "-15m", "text": "x", "cursor": cursor}, later)
    assert second == replace(first, cursor="inner")
    assert repr(second.since) == repr(first.since)  # a log system may hash the question


def test_the_last_page_has_no_cursor() -> None:
    """The envelope has Harmony's own names, and `next` is null at the end."""
    assert envelope(Query(), Page(1, [{"id": "a"}])) == {
        "totalResults": 1,
        "resources": [{"id": "a"}],
        "next": None,
    }


@given(
    since=st.none() | st.just(NOW),
    until=st.none() | st.just(NOW + timedelta(days=1)),
    inner=st.text(min_size=1, alphabet=st.characters(codec="utf-8")),
)
def test_any_cursor_of_a_log_system_comes_back_as_it_was(
    since: datetime | None, until: datetime | None, inner: str
) -> None:
    """What a log system gave as `next` is what it gets as `cursor`, and it is safe in a URL."""
    query = Query(since=since, until=until)
    cursor = envelope(query, Page(1, [], inner))["next"]
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert parse({"cursor": cursor}, NOW) == replace(query, cursor=inner)


@pytest.mark.parametrize(
    "content", [b"", b"7", b"[]", b'["x", null, "a"]', b"[1, 2, 3]", b"[null, null, 7]", b"\xff"]
)
def test_a_forged_cursor_is_a_wrong_question(content: bytes) -> None:
    """Nothing but a cursor of our own shape gets through to a log system."""
    with pytest.raises(QueryError, match="damaged"):
        parse({"cursor": urlsafe_b64encode(content).decode() or "-"}, NOW)


def test_a_cursor_with_a_time_without_zone_does_not_break_comparisons() -> None:
    """A hand-made cursor without a zone still gives aware times."""
    forged = urlsafe_b64encode(orjson.dumps(["2026-08-01T12:00:00", None, "x"])).decode()
    since = parse({"cursor": forged}, NOW).since
    assert since is not None
    assert since.tzinfo is not None
