"""What `GET /api/logs` and `harmony-agent logs` ask for, and what they get."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

__all__ = ["Page", "Query", "QueryError"]

from harmony_agent.core.errors import AgentError


class QueryError(AgentError):
    """The question itself is wrong (HTTP 400): names the parameter and what would be right."""


@dataclass(frozen=True, slots=True)
class Query:
    """One page of a question to a log system.

    `since` is inclusive, `until` exclusive, both aware; None means everything kept. The text
    filters are exact, but for `text`: words that all have to occur in the message, in any case.
    `start_index` (to 10,000) and `cursor` exclude each other.
    """

    since: datetime | None = None
    until: datetime | None = None
    node: str | None = None
    severities: tuple[str, ...] = ()
    element: str | None = None
    thread: str | None = None
    host: str | None = None
    mailbox: str | None = None
    text: str | None = None
    order: Literal["asc", "desc"] = "desc"
    start_index: int = 0
    count: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of events as JSON values (`Event.to_json`'s shape), the log system's own count of
    all matches (may count repeats), and the cursor of the next page, None on the last."""

    total: int
    resources: list[dict[str, Any]] = field(default_factory=list)
    next: str | None = None
