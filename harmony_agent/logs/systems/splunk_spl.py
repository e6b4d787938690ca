"""A question as a search in Splunk's language (SPL). No I/O.

What a user wrote never becomes part of the language: a value that is more than letters, digits,
`_`, `.` and `-` is percent-encoded inside `urldecode("...")`, so that there is nothing to quote.

Exact filters are `where` comparisons, which mind the case and know no wildcards; a plain value is
also looked up in the index (`field::value`), which is what makes a search fast.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from harmony_agent.logs.query import Query
from harmony_agent.logs.systems.questions import words
from harmony_agent.logs.systems.splunk_hec import FIELDS

__all__ = ["Place", "literal", "search_text", "time_bounds"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]*")
# Splunk's own time stamp is a float: milliseconds as an integer compare exactly.
_KEYS: Final = (
    f"eval harmony_ms=round(_time*1000), harmony_n=tonumber({FIELDS['number']}), "
    # The letter keeps Splunk from comparing an id of digits alone as a number.
    f'harmony_key="i".{FIELDS["id"]}'
)


@dataclass(frozen=True, slots=True)
class Place:
    """An event's place in the order: milliseconds since the epoch, EN, id."""

    ms: int
    number: int
    id: str


def literal(text: str) -> str:
    """An expression whose value is `text`, whatever it holds."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return f'urldecode("{quote(text, safe="", errors="replace")}")'


def search_text(
    query: Query,
    *,
    index: str | None,
    sourcetype: str,
    system: str | None,
    after: Place | None,
    rows: int,
) -> str:
    """The whole search: its results are the first `rows` events after `after`, in order, each id
    once, their JSON in `_raw`.

    Without an index all are searched that the token's role may read; without a system the events
    of all systems in it.
    """
    base = ["search", f"index={_term(index)}" if index else "index=*"]
    base.append(f"sourcetype={_term(sourcetype)}")
    conditions = []
    for field, wanted in _exact(query, system).items():
        if _PLAIN.fullmatch(wanted) and wanted:
            base.append(f"{field}::{wanted}")
        conditions.append(f"{field}={literal(wanted)}")
    if query.severities:
        listed = ", ".join(literal(s) for s in query.severities)
        conditions.append(f"in({FIELDS['severity']}, {listed})")
    stages = [" ".join(base)]
    if conditions:
        stages.append("where " + " AND ".join(conditions))
    if found := words(query.text):
        # With an explicit path spath reads the whole event, unlike automatic extraction.
        stages.append("spath path=message output=harmony_message")
        stages.append("where " + " AND ".join(_has_word(word) for word in found))
    stages.append(_KEYS)
    if after is not None:
        stages.append("where " + _beyond(after, ">" if query.order == "asc" else "<"))
    sign = "+" if query.order == "asc" else "-"
    stages.append(f"dedup {FIELDS['id']}")
    stages.append(f"sort {rows} {sign}harmony_ms {sign}harmony_n {sign}str(harmony_key)")
    stages.append(f"fields _raw harmony_ms {FIELDS['number']} {FIELDS['id']}")
    return " | ".join(stages)


def time_bounds(query: Query) -> dict[str, str]:
    """The job's earliest_time (inclusive) and latest_time (exclusive), as epoch seconds."""
    bounds = {"earliest_time": f"{query.since.timestamp():.3f}" if query.since else "0"}
    if query.until:
        bounds["latest_time"] = f"{query.until.timestamp():.3f}"
    return bounds


def _exact(query: Query, system: str | None) -> dict[str, str]:
    wanted = {
        FIELDS["system"]: system,
        FIELDS["node"]: query.node,
        FIELDS["element"]: query.element,
        FIELDS["thread"]: query.thread,
        FIELDS["host"]: query.host,
        FIELDS["mailbox"]: query.mailbox,
    }
    return {field: text for field, text in wanted.items() if text is not None}


def _term(text: str) -> str:
    """A value of the search command, which has no urldecode; it comes from the settings."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _has_word(word: str) -> str:
    # Words are runs of letters and digits, so there is nothing in them that a pattern minds.
    pattern = f"(?i)(?<![A-Za-z0-9]){word}(?![A-Za-z0-9])"
    return f"match(harmony_message, {literal(pattern)})"


def _beyond(place: Place, sign: str) -> str:
    key = literal("i" + place.id)
    return (
        f"harmony_ms{sign}{place.ms} OR (harmony_ms={place.ms} AND "
        f"(harmony_n{sign}{place.number} OR (harmony_n={place.number} AND "
        f"harmony_key{sign}{key})))"
    )
