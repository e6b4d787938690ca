"""Splunk's HTTP Event Collector (HEC): what is sent, and what its answers mean. No I/O.

Codes, texts and the rule of `invalid-event-number` are those of Splunk's "Troubleshoot HTTP Event
Collector" and of the REST reference 10.2, "services/collector".
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from harmony_agent.logs.event import Event
from harmony_agent.logs.systems.delivery import Outcome, Piece, Verdict
from harmony_agent.logs.systems.encoding import milliseconds, shortened, to_json

__all__ = ["FIELDS", "Answer", "Envelope", "base_url", "classify", "read_acks", "read_answer"]

# Indexed fields carry what the agent itself filters and sorts by: Splunk extracts JSON fields at
# search time only from the first 10,240 characters (limits.conf, [kv] maxchars). Names of their
# own, since a field that is both indexed and extracted shows every value twice.
FIELDS: Final = {
    "id": "harmony_id",
    "number": "harmony_number",
    "system": "harmony_system",
    "node": "harmony_node",
    "severity": "harmony_severity",
    "element": "harmony_element",
    "thread": "harmony_thread",
    "host": "harmony_host",
    "mailbox": "harmony_mailbox",
}

# inputs.conf, [http] maxEventSize is 5 MB; the rest is room for the envelope and escapes.
_EVENT_LIMIT: Final = 5 * 1024 * 1024 - 64 * 1024
_SHORTENED_TO: Final = 700 * 1024  # JSON escapes may take six bytes for one
_COLLECTOR: Final = re.compile(r"/services/collector(/.*)?$")

_SLOW_DOWN: Final = 2.0

_CODES: Final = {
    0: Outcome.ACCEPTED,
    1: Outcome.REFUSED,  # token disabled
    2: Outcome.REFUSED,  # token is required
    3: Outcome.REFUSED,  # invalid authorization
    4: Outcome.REFUSED,  # invalid token
    5: Outcome.REFUSED,  # no data
    6: Outcome.POISONED,  # invalid data format
    7: Outcome.REFUSED,  # incorrect index
    8: Outcome.BUSY,  # internal server error
    9: Outcome.BUSY,  # server is busy
    10: Outcome.REFUSED,  # data channel is missing
    11: Outcome.BUSY,  # invalid data channel: forgotten after 600 s; the next request gets one anew
    12: Outcome.POISONED,  # event field is required
    13: Outcome.POISONED,  # event field cannot be blank
    14: Outcome.REFUSED,  # ACK is disabled
    15: Outcome.POISONED,  # error in handling indexed fields
    16: Outcome.REFUSED,  # query string authorization is not enabled
    17: Outcome.ACCEPTED,  # HEC is healthy
    18: Outcome.BUSY,  # queues are full
    19: Outcome.BUSY,  # ack service unavailable
    20: Outcome.BUSY,  # both
    21: Outcome.REFUSED,  # invalid token (health)
    22: Outcome.REFUSED,  # token disabled (health)
    23: Outcome.BUSY,  # server is shutting down
    24: Outcome.ACCEPTED,  # queue nears its capacity
    25: Outcome.ACCEPTED,  # ACK channel nears its capacity
    26: Outcome.BUSY,  # queue at capacity
    27: Outcome.BUSY,  # ACK channel at capacity
}
_ADVICE: Final = {
    **dict.fromkeys((1, 2, 3, 4, 21, 22), "check token: it must be an enabled token of HEC"),
    7: "check index: the token must be allowed to write to it",
    16: "check url: it must hold no query",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What HEC said: its code and text, the number of the event it stumbled over, the ackId.
    All None if the body is not HEC's JSON (a proxy's page, for one)."""

    code: int | None = None
    text: str | None = None
    invalid_event: int | None = None
    ack_id: int | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """How events are wrapped: the metadata that all of them share."""

    host: str
    source: str
    sourcetype: str
    index: str | None = None

    def wrap(self, event: Event) -> Piece:
        """One entry of a request. An event beyond Splunk's 5 MB can't be split: a shortened copy
        is sent, and the piece says that the whole one is lost."""
        data = self._encode(event)
        if len(data) <= _EVENT_LIMIT:
            return Piece(event, data)
        reason = f"{len(data)} bytes are more than Splunk takes (5 MB); a shortened copy was sent"
        return Piece(event, self._encode(shortened(event, _SHORTENED_TO)), lost=reason)

    def _encode(self, event: Event) -> bytes:
        values: dict[str, Any] = {
            "time": milliseconds(event.time) / 1000,
            "host": self.host,
            "source": self.source,
            "sourcetype": self.sourcetype,
            "event": event.to_json(),
            "fields": _indexed_fields(event),
        }
        if self.index is not None:
            values["index"] = self.index
        return to_json(values)


def _indexed_fields(event: Event) -> dict[str, str]:
    fields = {
        FIELDS["id"]: event.id,
        FIELDS["number"]: str(event.number),
        FIELDS["system"]: event.system,
        FIELDS["node"]: event.node,
        FIELDS["severity"]: event.severity,
        FIELDS["element"]: event.element,
    }
    if event.thread:
        fields[FIELDS["thread"]] = event.thread
    if host := event.attributes.get("host"):
        fields[FIELDS["host"]] = host
    if mailbox := event.attributes.get("mailbox"):
        fields[FIELDS["mailbox"]] = mailbox
    return fields


def base_url(url: str) -> str:
    """`url` without HEC's own path, so that a URL copied from Splunk's examples works too."""
    return _COLLECTOR.sub("", re.split("[?#]", url, maxsplit=1)[0].rstrip("/"))


def read_answer(body: bytes) -> Answer:
    """HEC's answer; errors 413 and 415, and whatever a proxy says, come as HTML."""
    try:
        values = orjson.loads(body)
    except ValueError:
        return Answer()
    if not isinstance(values, dict):
        return Answer()
    text = values.get("text")
    return Answer(
        code=_whole(values.get("code")),
        text=text if isinstance(text, str) else None,
        invalid_event=_whole(values.get("invalid-event-number")),
        ack_id=_whole(values.get("ackId")),
    )


def read_acks(body: bytes, asked: Iterable[int]) -> list[int]:
    """Which of the requests `asked` for are indexed, by the answer to a poll; none if it is not
    HEC's JSON."""
    try:
        values = orjson.loads(body)
    except ValueError:
        return []
    acks = values.get("acks") if isinstance(values, dict) else None
    if not isinstance(acks, dict):
        return []
    return [ack_id for ack_id in asked if acks.get(str(ack_id)) is True]


def classify(
    status: int, answer: Answer, count: int, wait: float | None = None, *, patient: bool = True
) -> Verdict:
    """What an answer to a request of `count` events means.

    Parsing is sequential: the events before `invalid-event-number` are taken, that one and all
    after it are not. `wait` is what Retry-After says, in seconds. `patient`: a 404 may still be a
    rolling restart.
    """
    number = answer.invalid_event
    known = number is not None and 0 <= number < count
    outcome = _outcome(status, answer, patient=patient)
    if outcome is Outcome.ACCEPTED:
        slow = _SLOW_DOWN if answer.code in (24, 25) else None
        return Verdict(outcome, wait=wait if wait is not None else slow)
    return Verdict(
        outcome,
        _reason(status, answer),
        taken=number if known and number is not None else 0,
        found=known and outcome is Outcome.POISONED,
        wait=wait,
    )


def _outcome(status: int, answer: Answer, *, patient: bool) -> Outcome:
    known = _CODES.get(answer.code) if answer.code is not None else None
    # The status outranks a code that contradicts it: an error is never taken for a success.
    if known is not None and (known is not Outcome.ACCEPTED or status == 200):
        return known
    match status:
        case 200:
            # A page instead of HEC's JSON: a proxy or a login form took the events for itself.
            return Outcome.REFUSED if answer.code is None else Outcome.BUSY
        case 404:
            return Outcome.BUSY if patient else Outcome.REFUSED
        case 413:
            return Outcome.TOO_LARGE
        case 400 | 408 | 425 | 429:
            return Outcome.BUSY
        case _ if status >= 500:
            return Outcome.BUSY
        case _:
            return Outcome.REFUSED


def _reason(status: int, answer: Answer) -> str:
    if answer.code is None:
        words = f"Splunk answered HTTP {status} without HEC's JSON"
        hint = "check that url leads to the HTTP Event Collector (port 8088 by default)"
        return words if status >= 500 or status in (408, 413, 429) else f"{words}; {hint}"
    words = f"Splunk answered HTTP {status}, code {answer.code} ({answer.text or 'no text'})"
    advice = _ADVICE.get(answer.code)
    return f"{words}; {advice}" if advice else words


def _whole(value: object) -> int | None:
    return value if type(value) is int else None
