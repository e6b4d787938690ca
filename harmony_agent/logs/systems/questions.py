"""What both search back ends do alike with a question: its words, its limits, its cursor."""

import base64
import binascii
import hashlib
import re
from dataclasses import replace
from typing import Any, Final, TypeVar

import orjson

from harmony_agent.logs.query import Query, QueryError

__all__ = ["MOST_ROWS", "check", "pack_cursor", "unpack_cursor", "value", "words"]

T = TypeVar("T")

# `startIndex` and `count`, each: the search back ends sort or walk that many rows per answer.
MOST_ROWS: Final = 10_000
_WORD: Final = re.compile(r"[^\W_]+")  # as SQLite's unicode61 and Datadog's analyzer see a word


def check(query: Query) -> None:
    """Raise QueryError for what no search back end can answer."""
    if not 0 <= query.start_index <= MOST_ROWS:
        raise QueryError(f"startIndex must be 0 to {MOST_ROWS}; go on with the cursor beyond that")
    if not 0 <= query.count <= MOST_ROWS:
        raise QueryError(f"count must be 0 to {MOST_ROWS}")
    if query.cursor is not None and query.start_index:
        raise QueryError("startIndex and cursor exclude each other: give one of them")
    if query.text is not None and query.text.strip() and not words(query.text):
        raise QueryError("text must hold at least one letter or digit: it is searched by words")


def words(text: str | None) -> tuple[str, ...]:
    """The words of a free-text question in lower case: runs of letters and digits, each once."""
    return tuple(dict.fromkeys(word.lower() for word in _WORD.findall(text or "")))


def pack_cursor(query: Query, values: dict[str, Any]) -> str:
    """A cursor (URL-safe) that goes on with `query` after the place that `values` describe."""
    data = orjson.dumps({**values, "q": _digest(query)})
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unpack_cursor(query: Query) -> dict[str, Any] | None:
    """What `pack_cursor` was given; None if the query has no cursor.

    Raises QueryError if the cursor is damaged or belongs to another question.
    """
    if query.cursor is None:
        return None
    try:
        data = base64.urlsafe_b64decode(query.cursor + "=" * (-len(query.cursor) % 4))
        values = orjson.loads(data)
    except (binascii.Error, ValueError) as error:
        raise QueryError("cursor is damaged; take `next` of an answer as it is") from error
    if not isinstance(values, dict) or values.get("q") != _digest(query):
        raise QueryError("cursor belongs to another question; start again without it")
    return values


def value(values: dict[str, Any], name: str, kind: type[T]) -> T:
    """One value of an unpacked cursor. Raises QueryError if it is not of that kind."""
    found = values.get(name)
    if type(found) is not kind:
        raise QueryError("cursor is damaged; take `next` of an answer as it is")
    return found


def _digest(query: Query) -> str:
    question = replace(query, cursor=None, start_index=0, count=0)
    return hashlib.blake2b(repr(question).encode("utf-8", "replace"), digest_size=8).hexdigest()
