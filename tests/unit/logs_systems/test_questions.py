"""What both search back ends do alike with a question."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.logs.query import Query, QueryError
from harmony_agent.logs.systems.questions import (
    MOST_ROWS,
    check,
    pack_cursor,
    unpack_cursor,
    value,
    words,
)


@given(st.text())
def test_words_are_letters_and_digits_in_lower_case(text: str) -> None:
    """So that none can be an operator, a wildcard or a quote."""
    assert all(word.isalnum() and word == word.lower() for word in words(text) if word.isascii())
    assert len(set(words(text))) == len(words(text))


def test_a_cursor_gives_back_what_it_holds() -> None:
    """For the same question, whatever the page's size."""
    query = Query(node="harmony-1", count=10)
    cursor = pack_cursor(query, {"ms": 5, "seen": ["a"]})
    values = unpack_cursor(Query(node="harmony-1", count=20, cursor=cursor))
    assert values is not None
    assert (value(values, "ms", int), value(values, "seen", list)) == (5, ["a"])
    assert unpack_cursor(query) is None
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.text())
def test_any_text_for_a_cursor_is_a_plain_mistake(text: str) -> None:
    """Never a traceback."""
    with pytest.raises(QueryError, match="cursor"):
        unpack_cursor(Query(cursor=text))


@pytest.mark.parametrize("wrong", [None, "5", True, 5.0])
def test_a_cursor_with_a_value_of_another_type_is_damaged(wrong: object) -> None:
    """Its values go into queries: they are looked at."""
    with pytest.raises(QueryError, match="damaged"):
        value({"ms": wrong}, "ms", int)


@pytest.mark.parametrize(
    "query",
    [
        Query(start_index=-1),
        Query(start_index=MOST_ROWS + 1),
        Query(count=-1),
        Query(count=MOST_ROWS + 1),
        Query(start_index=1, cursor="x"),
        Query(text="--- !"),
    ],
)
def test_what_no_back_end_can_answer_is_refused(query: Query) -> None:
    """Limits, contradictions, and a text without a word."""
    with pytest.raises(QueryError):
        check(query)


def test_ordinary_questions_pass() -> None:
    """The limits themselves included."""
    check(Query())
    check(Query(start_index=MOST_ROWS, count=MOST_ROWS, text=" a "))
    check(Query(text="  "))
