"""How grave an event is: one table from Harmony's words to the agent's severities.

Sources: the status words of `Result` and how Cleo's own samples treat them (Java API examples),
colors as Harmony's UI uses them, and `Detail level` 0 as the most important.
"""

from collections.abc import Mapping
from typing import Final

from harmony_agent.logs.event import SEVERITIES

__all__ = ["UNREADABLE", "severity_of"]

# The element of an event whose markup can't be read; its message is the raw text.
UNREADABLE: Final = "Unreadable"

# `Result text="…"`; compared in lower case.
_BY_STATUS: Final = {
    "success": "info",
    "retry": "info",  # a final result follows
    "warning": "warning",
    "-": "warning",
    "interrupted": "warning",  # by a person
    "error": "error",
    "exception": "error",
}
_UNEXPECTED_STATUS: Final = "warning"

_BY_ELEMENT: Final = {
    "Hint": "warning",  # it explains a failure
    UNREADABLE: "warning",
}

_BY_COLOR: Final = {"red": "error", "orange": "warning"}

# These levels tell what happens; higher ones how.
_PLAIN_LEVELS: Final = ("0", "1")

_RANK: Final = {severity: rank for rank, severity in enumerate(SEVERITIES)}


def severity_of(element: str, attributes: Mapping[str, str]) -> str:
    """The severity of an event with this content element and attributes.

    A color that says worse than the words wins.
    """
    if element == "Result":
        status = attributes.get("text")
        severity = "info" if status is None else _BY_STATUS.get(status.lower(), _UNEXPECTED_STATUS)
    elif element == "Detail":
        severity = "info" if attributes.get("level", "0") in _PLAIN_LEVELS else "debug"
    else:
        severity = _BY_ELEMENT.get(element, "info")
    if "color" in attributes:
        colored = _BY_COLOR.get(attributes["color"].lower(), severity)
        return max(severity, colored, key=_RANK.__getitem__)
    return severity
