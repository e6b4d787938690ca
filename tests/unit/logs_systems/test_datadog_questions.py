"""Questions in Datadog's search syntax, and what comes back."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from fixtures.datadog_search import compile_query
from harmony_agent.logs.query import Query
from harmony_agent.logs.systems.datadog_intake import event_json
from harmony_agent.logs.systems.datadog_query import query_text, quoted, time_range
from tests.unit.logs_systems.events import START, make_event


def _log(**harmony: object) -> dict[str, object]:
    return {
        "message": "550 refused",
        "service": "harmony",
        "tags": ["source:cleo-harmony"],
        "attributes": {"harmony": harmony},
    }


@given(st.text())
@example('" OR *')
@example("\\")
@example('\\"')
def test_a_value_stays_one_literal(text: str) -> None:
    """Unescaped, no quote stands inside: a user's text can't end its literal."""
    literal = quoted(text)
    position, inside = 1, literal[1:-1]
    while position <= len(inside):
        if literal[position] == "\\":
            position += 2
            continue
        assert literal[position] != '"'
        position += 1
    assert position == len(literal) - 1
    assert literal[0] == literal[-1] == '"'


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_filter_finds_its_value_and_no_other(wanted: str, other: str) -> None:
    """Whatever both hold, also quotes, operators and wildcards."""
    test = compile_query(query_text(Query(thread=wanted), None))
    assert test(_log(thread=wanted))
    assert test(_log(thread=other)) is (other == wanted)


@given(st.text())
def test_any_text_can_be_asked_for(text: str) -> None:
    """A free text makes a query that Datadog understands, with no operator of the user's."""
    test = compile_query(query_text(Query(text=text), None))
    assert test(_log()) in (True, False)


def test_words_are_looked_for_one_by_one() -> None:
    """All have to occur, in any order and case, apart from each other."""
    assert compile_query(query_text(Query(text="REFUSED, 550"), None))(_log())
    assert not compile_query(query_text(Query(text="refused 551"), None))(_log())


def test_everything_kept_has_a_beginning() -> None:
    """Without one Datadog would take the last 15 minutes."""
    first, last = time_range(Query(), START)
    assert first < START.timestamp() * 1000 - 455 * 86_400_000
    assert last > START.timestamp() * 1000 + 2 * 3_600_000


def test_until_is_exclusive() -> None:
    """Datadog's own end is inclusive."""
    first, last = time_range(Query(since=START, until=START + timedelta(seconds=1)), START)
    assert (first, last) == (1773129600123, 1773129601122)


def test_a_foreign_log_is_no_event() -> None:
    """Other logs of the same service are left out, not shown half empty."""
    assert event_json({"harmony": {"node": "x"}}, "") is None
    assert event_json({}, "") is None
    assert event_json({"harmony": "text"}, "") is None


def test_what_datadog_drops_is_put_back() -> None:
    """Attributes without a value, and the nesting of names with dots."""
    event = make_event(1, serial=None, thread=None, attributes={"a.b": "1", "a.c.d": "2"})
    values = {k: v for k, v in event.to_json().items() if v is not None and k != "message"}
    values["attributes"] = {"a": {"b": "1", "c": {"d": "2"}}}
    assert event_json({"harmony": values}, event.message) == event.to_json()


def test_times_with_another_zone_are_converted() -> None:
    """Aware times of any zone mean the same moment."""
    moment = datetime(2026, 3, 10, 8, tzinfo=UTC)
    assert time_range(Query(since=moment.astimezone()), START) == time_range(
        Query(since=moment), START
    )
