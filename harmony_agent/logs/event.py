"""The log event: one schema from the log file to every log system and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

__all__ = ["SEVERITIES", "Event"]

SEVERITIES: Final = ("debug", "info", "warning", "error", "critical")


@dataclass(slots=True)
class Event:
    """One event of Harmony's system log (design, "Log event").

    `time` is aware and in UTC; `number` is Harmony's EN; `run` is the Run's date as written;
    `attributes` holds the content element's XML attributes by their own names, values as written.
    `id` is the same however often the event is read or sent. Not frozen: making a frozen instance
    costs three times as much, and tens of thousands are made a second.
    """

    id: str
    time: datetime
    system: str
    node: str
    serial: str | None
    run: str
    number: int
    thread: str | None
    command: str | None
    element: str
    severity: str
    message: str
    attributes: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The event as JSON values; `time` as RFC 3339 with milliseconds and `Z`."""
        return {
            "time": format_time(self.time),
            "system": self.system,
            "node": self.node,
            "serial": self.serial,
            "run": self.run,
            "number": self.number,
            "thread": self.thread,
            "command": self.command,
            "element": self.element,
            "severity": self.severity,
            "message": self.message,
            "attributes": self.attributes,
            "id": self.id,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Event":
        """The event that `to_json` made. Raises KeyError, TypeError or ValueError for anything
        else."""
        return cls(**{**values, "time": datetime.fromisoformat(values["time"])})


@lru_cache(maxsize=256)  # events come in bursts of one moment
def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and `Z`; `moment` is aware and in UTC."""
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"
