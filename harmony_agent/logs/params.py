"""The wire form of a question to a log system: `GET /api/logs` and `harmony-agent logs`."""

import difflib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, Self

import orjson

from harmony_agent.logs.event import SEVERITIES
from harmony_agent.logs.query import Page, Query, QueryError
from harmony_agent.settings.values import comma_list, duration

__all__ = [
    "DEFAULT_COUNT",
    "MOST_COUNT",
    "MOST_START_INDEX",
    "PARAMETERS",
    "envelope",
    "parse",
]

PARAMETERS: Final = (
    "from",
    "to",
    "node",
    "severity",
    "element",
    "thread",
    "host",
    "mailbox",
    "text",
    "order",
    "startIndex",
    "count",
    "cursor",
)
DEFAULT_COUNT: Final = 100
MOST_COUNT: Final = 5000
MOST_START_INDEX: Final = 10_000

_MOMENT_FORMS = (
    "RFC 3339 such as 2026-08-01T12:00:00Z, seconds since 1970, or a time ago such as -15m"
)
# RFC 3339, section 5.6, with the blank it allows in place of T. An unescaped + of the offset
# arrives as a blank, for that is what + means in a query string.
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d+)?)(?:([Zz])|([-+ ])(\d\d:\d\d))", re.ASCII
)
_NO_ZONE = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?", re.ASCII)
_EPOCH = re.compile(r"\d{1,17}(?:\.\d{1,9})?", re.ASCII)
_AGO = re.compile(r"(?:now)?-(.+)")


def parse(params: Mapping[str, str], now: datetime | None = None) -> Query:
    """The question that `params` (names and values of a query string) ask.

    An empty value is the same as none. Relative times count from `now` (aware; the present
    moment if None). With a cursor, the time range is that of the first page, whatever `from` and
    `to` say.

    Raises QueryError that names the parameter and what would be right.
    """
    for name in params:
        if name not in PARAMETERS:
            raise QueryError(_unknown("parameter", name, PARAMETERS))
    given = {name: value for name, value in params.items() if value.strip()}
    if "startIndex" in given and "cursor" in given:
        raise QueryError(
            "'startIndex' and 'cursor' exclude each other: go on with the cursor alone"
        )
    cursor = _Cursor.unpack(given["cursor"]) if "cursor" in given else None
    now = (now or datetime.now(UTC)).astimezone(UTC)
    since, until = _moment(given, "from", now), _moment(given, "to", now)
    if since and until and since > until:
        raise QueryError(f"'from' ({given['from']}) must not lie after 'to' ({given['to']})")
    return Query(
        since=cursor.since if cursor else since,
        until=cursor.until if cursor else until,
        node=given.get("node"),
        severities=_severities(given.get("severity", "")),
        element=given.get("element"),
        thread=given.get("thread"),
        host=given.get("host"),
        mailbox=given.get("mailbox"),
        text=given.get("text"),
        order=_order(given.get("order", "desc")),
        start_index=_number(given, "startIndex", 0, 0, MOST_START_INDEX),
        count=_number(given, "count", DEFAULT_COUNT, 1, MOST_COUNT),
        cursor=cursor.place if cursor else None,
    )


def envelope(query: Query, page: Page) -> dict[str, Any]:
    """The answer to `query` in the shape of Harmony's own collections:
    `{"totalResults": n, "resources": […], "next": cursor or None}`."""
    following = _Cursor(query.since, query.until, page.next).pack() if page.next else None
    return {"totalResults": page.total, "resources": page.resources, "next": following}


class _Cursor(NamedTuple):
    """The log system's own cursor, and the time range of the first page with it: the later pages
    of `from=-15m` must not ask for later and later quarters of an hour."""

    since: datetime | None
    until: datetime | None
    place: str

    def pack(self) -> str:
        data = orjson.dumps([self.since, self.until, self.place])
        return urlsafe_b64encode(data).rstrip(b"=").decode()

    @classmethod
    def unpack(cls, text: str) -> Self:
        try:
            data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            since, until, place = orjson.loads(data)
            if not isinstance(place, str):
                raise TypeError
            return cls(_unpack_moment(since), _unpack_moment(until), place)
        except (ValueError, TypeError) as error:
            raise QueryError(
                "'cursor' is damaged: take 'next' of the page before as it is"
            ) from error


def _unpack_moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _unknown(what: str, word: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word.lower(), [name.lower() for name in known], n=1)
    if near:
        nearest = next(name for name in known if name.lower() == near[0])
        return f"unknown {what} {_shown(word)}: did you mean '{nearest}'?"
    return f"unknown {what} {_shown(word)}: there are {', '.join(known)}"


def _shown(value: str) -> str:
    """`value` in quotes, short enough for a message."""
    return repr(value if len(value) <= 60 else value[:60] + "…")


def _moment(given: Mapping[str, str], name: str, now: datetime) -> datetime | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        return _read_moment(value.strip(), now)
    except (ValueError, OverflowError) as error:
        reason = str(error) if type(error) is ValueError else ""
        raise QueryError(
            f"'{name}' ({_shown(value)}) {reason or f'must be {_MOMENT_FORMS}'}"
        ) from error


def _read_moment(value: str, now: datetime) -> datetime:
    if value.lower() == "now":
        return now
    if match := _AGO.fullmatch(value):
        return now - timedelta(seconds=duration(match[1]))
    if _EPOCH.fullmatch(value):
        seconds = float(value)
        if seconds >= 1e11:  # the year 5138 in seconds, 1973 in milliseconds
            raise ValueError("must be in seconds; this looks like milliseconds")
        return datetime.fromtimestamp(seconds, UTC)
    if match := _RFC3339.fullmatch(value):
        date, time, zulu, sign, offset = match.groups()
        zone = "+00:00" if zulu else ("-" if sign == "-" else "+") + offset
        return _calendar(f"{date}T{time}{zone}")
    if _NO_ZONE.fullmatch(value):
        raise ValueError("needs time and zone: 2026-08-01T12:00:00Z or 2026-08-01T14:00:00+02:00")
    raise ValueError


def _calendar(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise ValueError("is no moment of the calendar") from None


def _severities(value: str) -> tuple[str, ...]:
    wanted = dict.fromkeys(word.lower() for word in comma_list(value))
    for word in wanted:
        if word not in SEVERITIES:
            raise QueryError("'severity': " + _unknown("severity", word, SEVERITIES))
    return tuple(wanted)


def _order(value: str) -> Literal["asc", "desc"]:
    match value.strip().lower():
        case "asc":
            return "asc"
        case "desc":
            return "desc"
        case _:
            raise QueryError(f"'order' ({_shown(value)}) must be asc or desc")


def _number(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    value = given.get(name)
    if value is None:
        return default
    # int() would take '1_000', other scripts' digits and a million of them.
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value) and least <= int(value) <= most:
        return int(value)
    raise QueryError(f"'{name}' ({_shown(value)}) must be a number from {least} to {most}")
