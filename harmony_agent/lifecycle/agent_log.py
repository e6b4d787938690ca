"""The agent's own log: one JSON object a line (or plain text), UTC, secrets starred.

It goes to standard error only and is never fed to the log systems that carry Harmony's events.
"""

import logging
import sys
from datetime import UTC, datetime

import orjson

from harmony_agent.core.redaction import redact

__all__ = ["configure"]

# What a LogRecord carries anyway; everything else on it came in by `extra=` and is shown.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Formatter(logging.Formatter):
    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        fields = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return fields


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
            "logger": record.name,
            **self._fields(record),
        }
        return redact(orjson.dumps(line, default=str).decode())


class _TextFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = self._fields(record)
        exception = fields.pop("exception", None)
        rest = "".join(f" {key}={value}" for key, value in fields.items())
        line = f"{_rfc3339(record.created)} {record.levelname:<7} {record.getMessage()}{rest}"
        return redact(f"{line}\n{exception}" if exception else line)


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def configure(style: str, level: str) -> None:
    """Send all logging to standard error in `style` (`json` or `text`) from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if style == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # libraries: only what matters
    logging.getLogger("harmony_agent").setLevel(level.upper())
    logging.captureWarnings(capture=True)
