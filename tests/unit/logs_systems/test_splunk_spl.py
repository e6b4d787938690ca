"""Questions in Splunk's language."""

import json
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fixtures import spl as stand_in
from harmony_agent.logs.query import Query
from harmony_agent.logs.systems import splunk_spl as spl
from harmony_agent.logs.systems.questions import words
from tests.unit.logs_systems.events import START

SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.~%-")


def _text(query: Query, after: spl.Place | None = None) -> str:
    return spl.search_text(query, index="main", sourcetype="s", system=None, after=after, rows=11)


@given(st.text())
@example('" | delete')
@example("`macro` [search x] $token$ %22 \\")
def test_a_literal_holds_nothing_that_could_end_it(text: str) -> None:
    """Letters, digits and five signs, whatever a user wrote: there is nothing to break out of."""
    literal = spl.literal(text)
    inner = literal.removeprefix("urldecode(").removesuffix(")")
    assert inner.startswith('"')
    assert inner.endswith('"')
    assert set(inner[1:-1]) <= SAFE


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("100%")
@example("a+b c%2B")
def test_a_literal_means_what_the_user_wrote(text: str) -> None:
    """Evaluated, it finds the value itself and nothing else."""
    rows = [{"index": "main", "x": found} for found in (text + "x", text)]
    result = stand_in.run(f"search index=main | where x={spl.literal(text)}", rows)
    # As in Splunk, two values that both look like numbers are compared as numbers.
    assert text in [row["x"] for row in result.rows]
    assert text + "x" not in [row["x"] for row in result.rows]


@given(
    node=st.text(max_size=20),
    thread=st.text(max_size=20),
    text=st.text(max_size=30),
    severity=st.text(max_size=10),
    cursor_id=st.text(max_size=10),
)
def test_no_question_adds_a_stage_to_the_search(
    node: str, thread: str, text: str, severity: str, cursor_id: str
) -> None:
    """The number of pipes outside of quotes does not depend on what a user wrote."""
    query = Query(node=node, thread=thread, severities=(severity,), text=text)
    place = spl.Place(1, 2, cursor_id)
    stages = _text(query, place).split(" | ")
    assert len(stages) == 7 + 2 * bool(words(text))
    assert "`" not in _text(query, place)
    assert "[" not in _text(query, place).replace("[A-Za-z0-9]", "")


def test_a_plain_value_is_also_looked_up_in_the_index() -> None:
    """`field::value` is what makes a search fast; the comparison makes it exact."""
    text = _text(Query(node="harmony-1"))
    assert text.startswith('search index="main" sourcetype="s" harmony_node::harmony-1 | ')
    assert 'where harmony_node="harmony-1"' in text


def test_without_an_index_all_readable_ones_are_searched() -> None:
    """The role's default indexes need not hold the token's default index."""
    text = spl.search_text(Query(), index=None, sourcetype="s", system=None, after=None, rows=1)
    assert text.startswith("search index=* ")


def test_times_are_inclusive_and_exclusive_as_splunk_has_them() -> None:
    """earliest_time is inclusive, latest_time exclusive; without them everything kept."""
    query = Query(since=START, until=START + timedelta(milliseconds=1))
    assert spl.time_bounds(query) == {
        "earliest_time": "1773129600.123",
        "latest_time": "1773129600.124",
    }
    assert spl.time_bounds(Query()) == {"earliest_time": "0"}


@pytest.mark.parametrize("order", ["asc", "desc"])
@given(
    places=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.text("0123456789abcdef", min_size=1)),
        unique_by=lambda place: place[2],
        max_size=12,
    ),
    size=st.integers(1, 4),
)
def test_pages_by_cursor_are_the_whole_in_order(
    order: str, places: list[tuple[int, int, str]], size: int
) -> None:
    """Equal times and numbers, ids that look like numbers: no event twice, none left out."""
    rows = [
        {
            "_raw": json.dumps({"message": ""}),
            "_time": ms / 1000,
            "index": "main",
            "sourcetype": "s",
            "harmony_number": str(number),
            "harmony_id": id_,
        }
        for ms, number, id_ in places
    ]
    query = Query(order="asc" if order == "asc" else "desc")
    seen: list[tuple[int, int, str]] = []
    after = None
    while True:
        text = spl.search_text(
            query, index="main", sourcetype="s", system=None, after=after, rows=size
        )
        page = stand_in.run(text, rows).rows
        if not page:
            break
        found = [(int(r["harmony_ms"]), int(r["harmony_number"]), r["harmony_id"]) for r in page]
        seen += found
        after = spl.Place(*found[-1])
    assert seen == sorted(places, reverse=order == "desc")
