"""Datadog's logs intake v2: what is sent, and what its answers mean. No I/O.

Limits, statuses and the age window are those of Datadog's API reference, "Send logs", and of its
log collection pages.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from harmony_agent.logs.event import Event
from harmony_agent.logs.systems.delivery import Outcome, Piece, Verdict
from harmony_agent.logs.systems.encoding import milliseconds, shortened, split_text, to_json

__all__ = ["NAMESPACE", "SERVICE", "SOURCE", "Entries", "classify", "event_json"]

SOURCE: Final = "cleo-harmony"
SERVICE: Final = "harmony"
# All of the event lies below one attribute: at the top Datadog takes `severity`, `host`, `time`
# and others for its own (reserved and remapped attributes).
NAMESPACE: Final = "harmony"

# A log beyond 1 MB is cut by Datadog and answered 202 all the same.
_LOG_LIMIT: Final = 1_000_000
_OVERHEAD: Final = 2_000  # service, tags and braces around message and attributes
_ROOM: Final = 400_000  # beyond this the attributes are shortened

# Outside of 18 h back and 2 h ahead a log is answered 202 and never indexed.
_OLDEST: Final = timedelta(hours=17)
_NEWEST: Final = timedelta(hours=1, minutes=45)

_STATUS: Final = {
    "debug": "debug",
    "info": "info",
    "warning": "warn",
    "error": "error",
    "critical": "critical",
}


@dataclass(frozen=True, slots=True)
class Entries:
    """Makes the intake's entries of events: the metadata that all of them share."""

    host: str
    tags: tuple[str, ...] = ()

    def make(self, event: Event, now: datetime) -> list[Piece]:
        """The entries of one event: one, or numbered parts if its message is too long for one.

        All parts bear the event's id, so that retrieval puts them together again. An event whose
        attributes alone are too big is sent shortened, and its last piece says so.
        """
        whole = self._entry(event, now)
        data = to_json(whole)
        if len(data) <= _LOG_LIMIT:
            return [Piece(event, data)]
        source, lost = event, None
        rest = len(to_json(self._entry(replace(event, message=""), now)))
        if rest > _ROOM:
            lost = f"{rest} bytes of attributes are more than Datadog takes in one log; a "
            lost += "shortened copy was sent"
            source = shortened(event, _ROOM // 6)  # JSON escapes may take six bytes for one
            rest = _ROOM
        room = _LOG_LIMIT - rest - _OVERHEAD
        return self._parts(event, source, room, now, lost)

    def _parts(
        self, event: Event, source: Event, room: int, now: datetime, lost: str | None
    ) -> list[Piece]:
        escaped = len(to_json(source.message))
        # The share of a text that fits is only known by its length as JSON.
        size = max(4, int(room * len(source.message.encode()) / max(escaped, 1) * 0.9))
        while True:
            texts = split_text(source.message, size)
            datas = []
            for number, text in enumerate(texts, 1):
                entry = self._entry(source, now)
                entry["message"] = text
                if len(texts) > 1:
                    entry[NAMESPACE]["part"] = number
                    entry[NAMESPACE]["parts"] = len(texts)
                datas.append(to_json(entry))
            if max(map(len, datas)) <= _LOG_LIMIT or size <= 4096:
                break
            size //= 2
        last = len(datas)
        return [Piece(event, data, n == last, lost) for n, data in enumerate(datas, 1)]

    def _entry(self, event: Event, now: datetime) -> dict[str, Any]:
        values = event.to_json()
        del values["message"]
        moment = event.time
        if not now - _OLDEST <= moment <= now + _NEWEST:
            moment = now
            values["original_time"] = values["time"]
        tags = (f"system:{event.system}", f"node:{event.node}", *self.tags)
        return {
            "message": event.message,
            "ddsource": SOURCE,
            "ddtags": ",".join(tags),
            "hostname": self.host,
            "service": SERVICE,
            "status": _STATUS.get(event.severity, "info"),
            "timestamp": milliseconds(moment),
            NAMESPACE: values,
        }


def classify(status: int, body: bytes, wait: float | None = None) -> Verdict:
    """What an answer of the intake means; `wait` is what its headers ask for, in seconds.

    There is no word about single entries: 202 takes all, an error none.
    """
    if 200 <= status < 300:
        return Verdict(Outcome.ACCEPTED)
    words = f"Datadog answered HTTP {status} ({_words(body)})"
    if status == 400:
        return Verdict(Outcome.POISONED, words)
    if status == 413:
        return Verdict(Outcome.TOO_LARGE, words)
    if status in (401, 403):
        return Verdict(Outcome.REFUSED, f"{words}; check apiKey, and that site is the key's own")
    if status in (408, 425, 429) or status >= 500:
        return Verdict(Outcome.BUSY, words, wait=wait)
    return Verdict(Outcome.REFUSED, f"{words}; check site and endpoint")


def event_json(attributes: dict[str, Any], message: str) -> dict[str, Any] | None:
    """The event as it was sent, from what search returns as a log's `attributes` and `message`;
    None if the log is not the agent's.

    Datadog drops attributes without a value and nests those with a dot in their name.
    """
    values = attributes.get(NAMESPACE)
    if not isinstance(values, dict) or not isinstance(values.get("id"), str):
        return None
    return {
        "time": values.get("time"),
        "system": values.get("system"),
        "node": values.get("node"),
        "serial": values.get("serial"),
        "run": values.get("run"),
        "number": values.get("number"),
        "thread": values.get("thread"),
        "command": values.get("command"),
        "element": values.get("element"),
        "severity": values.get("severity"),
        "message": message,
        "attributes": _flat(values.get("attributes") or {}),
        "id": values["id"],
    }


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, inner in values.items():
        if isinstance(inner, dict):
            found.update(_flat(inner, f"{prefix}{name}."))
        else:
            found[prefix + name] = str(inner)
    return found


def _words(body: bytes) -> str:
    return " ".join(body[:200].decode(errors="replace").split()) or "no text"
