"""Events for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from harmony_agent.logs.event import Event

__all__ = ["START", "make_event", "make_events"]

START = datetime(2026, 3, 10, 8, 0, 0, 123000, tzinfo=UTC)


def make_event(number: int = 1, **changes: Any) -> Event:
    """An event of node harmony-1; `changes` replace fields."""
    values: dict[str, Any] = {
        "id": f"{number:032x}",
        "time": START + timedelta(seconds=number % 100_000),
        "system": "System1",
        "node": "harmony-1",
        "serial": "HC1234-ZZ5678-harmony-1",
        "run": "2026/03/10 08:00:00",
        "number": number,
        "thread": "<send>box1@ACME AS2",
        "command": None,
        "element": "Result",
        "severity": "error",
        "message": f"550 refused number{number}",
        "attributes": {"text": "Error", "host": "ACME AS2", "mailbox": "box1"},
    }
    return Event(**{**values, **changes})


def make_events(count: int, first: int = 1) -> list[Event]:
    """`count` events with the numbers from `first`, a second apart."""
    return [make_event(number) for number in range(first, first + count)]
