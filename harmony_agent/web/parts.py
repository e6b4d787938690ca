"""What the agent hands in: the web side knows no other part by name."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harmony_agent.lifecycle.health import Health

__all__ = ["Command", "Parts", "Search"]

Search = Callable[[Mapping[str, str]], Awaitable[Mapping[str, Any]]]
Command = Callable[[dict[str, Any]], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What probes, API and page show and do.

    `search` answers the parameters of `GET /api/logs` with `{"totalResults", "resources",
    "next"}`; it raises Unavailable, Refused, or another AgentError if the question is wrong.
    `token` gives the bearer token of the moment (it may rotate), None if none is set. `commands`
    are what `POST /control/<name>` on the control socket does: JSON object in, JSON object out.
    `facts` stand at the head of /api/status, such as `system` and `node`.
    """

    health: Health
    search: Search
    token: Callable[[], str | None]
    commands: Mapping[str, Command] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
