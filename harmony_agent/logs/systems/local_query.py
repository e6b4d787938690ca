"""A Query as SQL for the local store. Whatever a user writes is bound, never part of the SQL."""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from harmony_agent.logs.query import Query, QueryError

__all__ = ["Select", "cursor_after", "milliseconds", "select"]

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_EXACT: Final = ("node", "element", "thread", "host", "mailbox")


@dataclass(frozen=True, slots=True)
class Select:
    """Conditions for the whole question, further ones for the page, and the page's shape."""

    conditions: str
    values: tuple[str | int, ...]
    page_conditions: str
    page_values: tuple[int, ...]
    order: str
    count: int
    start_index: int


def select(query: Query) -> Select:
    """Raises QueryError for a cursor that is not one of ours, or belongs to the other order."""
    conditions: list[str] = []
    values: list[str | int] = []

    def add(condition: str, *bound: str | int) -> None:
        conditions.append(condition)
        values.extend(bound)

    if query.since is not None:
        add("time >= ?", milliseconds(query.since))
    if query.until is not None:
        add("time < ?", milliseconds(query.until))
    for name in _EXACT:
        wanted = getattr(query, name)
        if wanted is not None:
            add(f"{name} = ?", _storable(wanted))
    if query.severities:
        marks = ", ".join("?" * len(query.severities))
        add(f"severity IN ({marks})", *map(_storable, query.severities))
    phrases = []
    for word in _storable(query.text or "").split():
        if any(character.isalnum() for character in word):
            phrases.append('"' + word.replace('"', '""') + '"')
        else:  # the index holds letters and digits only
            add("instr(message, ?) > 0", word)
    if phrases:
        add("seq IN (SELECT rowid FROM words WHERE words MATCH ?)", " AND ".join(phrases))
    descending = query.order == "desc"
    page_conditions, page_values = _after(query.cursor, descending=descending)
    return Select(
        " AND ".join(conditions) or "TRUE",
        tuple(values),
        page_conditions,
        page_values,
        "time DESC, seq DESC" if descending else "time, seq",
        query.count,
        query.start_index,
    )


def cursor_after(order: str, time: int, seq: int) -> str:
    """The cursor of the page after the event with this time and sequence number."""
    direction = "d" if "DESC" in order else "a"
    return base64.urlsafe_b64encode(f"{direction}{time}.{seq}".encode()).decode().rstrip("=")


def _after(cursor: str | None, *, descending: bool) -> tuple[str, tuple[int, ...]]:
    if cursor is None:
        return "TRUE", ()
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        time, seq = map(int, text[1:].split("."))
    except (ValueError, binascii.Error) as error:
        raise QueryError("cursor: not one that an answer here gave; start without it") from error
    if text[0] != ("d" if descending else "a"):
        raise QueryError("cursor: belongs to the other order; keep order as it was")
    if max(abs(time), abs(seq)) >= 2**63:
        raise QueryError("cursor: not one that an answer here gave; start without it")
    return f"(time, seq) {'<' if descending else '>'} (?, ?)", (time, seq)


def milliseconds(moment: datetime) -> int:
    """Epoch milliseconds, rounded up: a limit between two of them lies before the later one."""
    return -((_EPOCH - moment) // _MILLISECOND)


def _storable(text: str) -> str:
    """`text` as SQLite can take it: no lone surrogates, no NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", " ")
