"""A question in Datadog's log search syntax, and its answer as events. No I/O.

Whatever a user wrote stands in double quotes, where only `"` and the backslash have a meaning
(Datadog documentation, "Log Search Syntax").
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from harmony_agent.logs.query import Query
from harmony_agent.logs.systems.datadog_intake import NAMESPACE, SERVICE, SOURCE, event_json
from harmony_agent.logs.systems.questions import words

__all__ = [
    "Found",
    "Part",
    "join_parts",
    "ordered",
    "query_text",
    "quoted",
    "read_log",
    "time_range",
]

# "Everything kept" needs a beginning, else Datadog takes the last 15 minutes: longer than the
# longest retention it sells (15 months, Flex logs).
_EVERYTHING: Final = timedelta(days=460)
_AHEAD: Final = timedelta(hours=3)  # logs may be indexed with a time up to 2 h ahead


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of its event a log holds: `number` of `count`, from 1."""

    number: int
    count: int


@dataclass(frozen=True, slots=True)
class Found:
    """One log of an answer: when Datadog places it, the event in it, and which part of it."""

    moment: str
    event: dict[str, Any]
    part: Part

    @property
    def id(self) -> str:
        """The event's id."""
        return str(self.event["id"])


def quoted(text: str) -> str:
    """`text` as one literal of the search syntax."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def query_text(query: Query, system: str | None) -> str:
    """The search for `query`, without its times; with `system` for that system's events only."""
    terms = [f"source:{SOURCE}", f"service:{SERVICE}"]
    exact = {
        "system": system,
        "node": query.node,
        "element": query.element,
        "thread": query.thread,
        "attributes.host": query.host,
        "attributes.mailbox": query.mailbox,
    }
    for name, wanted in exact.items():
        if wanted is not None:
            terms.append(f"@{NAMESPACE}.{name}:{quoted(wanted)}")
    if query.severities:
        listed = " OR ".join(quoted(severity) for severity in query.severities)
        terms.append(f"@{NAMESPACE}.severity:({listed})")
    terms += [quoted(word) for word in words(query.text)]
    return " ".join(terms)


def time_range(query: Query, now: datetime) -> tuple[int, int]:
    """First and last millisecond since the epoch that a question asks for, both inclusive."""
    since = query.since or now - _EVERYTHING
    until = query.until or now + _AHEAD
    return _milliseconds(since), _milliseconds(until) - 1


def _milliseconds(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1000)


def read_log(log: dict[str, Any]) -> Found | None:
    """One log of an answer's `data`; None if it is not the agent's."""
    outer = log.get("attributes") or {}
    inner = outer.get("attributes") or {}
    event = event_json(inner, outer.get("message") or "")
    if event is None:
        return None
    own = inner[NAMESPACE]
    part = Part(int(own.get("part") or 1), int(own.get("parts") or 1))
    return Found(str(outer.get("timestamp", "")), event, part)


def ordered(found: Iterable[Found], order: str) -> list[Found]:
    """One page in order: Datadog sorts by time alone, so within one time by EN and part."""
    return sorted(
        found,
        key=lambda f: (f.moment, f.event.get("number") or 0, f.id, f.part.number),
        reverse=order == "desc",
    )


def join_parts(parts: Iterable[Found]) -> dict[str, Any]:
    """The event that `parts` hold together (at least one; repeats do no harm)."""
    by_number = {found.part.number: found for found in parts}
    texts = [str(by_number[number].event["message"]) for number in sorted(by_number)]
    return {**next(iter(by_number.values())).event, "message": "".join(texts)}
