"""What happened on the way to the license service, and what that means (design, the table).

Pure: no network, no clock of its own. `needs_witness` tells whether the ticket service has to be
asked before a meaning can be given.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from harmony_agent.license.serial import is_serial

__all__ = [
    "NOBODY",
    "Answer",
    "Fault",
    "Happening",
    "Meaning",
    "NoAnswer",
    "Question",
    "Refusal",
    "Trouble",
    "Unreached",
    "Verified",
    "Witness",
    "classify",
    "needs_witness",
]

# How far the ticket service's Date may be from our clock if an expired certificate is to be the
# license service's mistake and not our clock's (design, the table).
_CLOCK_TOLERANCE: Final = 3600.0

_REFUSALS: Final = ("invalid", "expired", "revoked", "suspended")


class Trouble(StrEnum):
    """What stood in the way before an answer arrived over verified TLS."""

    UNRESOLVABLE = "unresolvable"
    REFUSED = "refused"
    RESET = "reset"
    TIMED_OUT = "timed-out"
    NO_ROUTE = "no-route"
    CERTIFICATE_DATE = "certificate-date"
    CERTIFICATE_NAME = "certificate-name"
    CERTIFICATE_UNKNOWN = "certificate-unknown"
    PROXY = "proxy"


class Fault(StrEnum):
    """Who has to act when the license can't be verified."""

    CLEO = "cleo"
    CUSTOMER = "customer"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing came back over verified TLS; `detail` is the library's own sentence."""

    trouble: Trouble
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer over verified TLS: its status, its body (None: broken off or longer than the
    limit), the time of its Date header in seconds since 1970 (None: none, or not readable), the
    seconds that its Retry-After header asks to wait (None as well)."""

    status: int
    body: bytes | None = b""
    date: float | None = None
    retry_after: float | None = None


Happening = NoAnswer | Answer


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer has to match: the serial that was sent (None: none) and the request's id."""

    serial: str | None
    request_id: str


@dataclass(frozen=True, slots=True)
class Witness:
    """How the ticket service fared: whether it answered over verified TLS, and its Date."""

    answers: bool
    date: float | None = None


NOBODY: Final = Witness(answers=False)


@dataclass(frozen=True, slots=True)
class Verified:
    """The license is valid; the serial, end of validity and message that the service answered."""

    serial: str | None = None
    expires: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The service refuses the license: its own word, and its message for people."""

    status: str
    message: str | None = None

    @property
    def cause(self) -> str:
        """A sentence for a person."""
        said = f": {self.message}" if self.message else ""
        return f"Cleo's license service says that the license is {self.status}{said}"


@dataclass(frozen=True, slots=True)
class Unreached:
    """The license could be neither verified nor refused: whose fault, a short word, a sentence."""

    fault: Fault
    kind: str
    cause: str


Meaning = Verified | Refusal | Unreached


def needs_witness(happening: Happening) -> bool:
    """Whether the ticket service has to be asked whose fault this is."""
    return isinstance(happening, NoAnswer) and happening.trouble in _WORDS_WITH_WITNESS


def classify(question: Question, happening: Happening, witness: Witness, now: float) -> Meaning:
    """What `happening` means; `now` is our clock in seconds since 1970."""
    if isinstance(happening, Answer):
        return _judge_answer(question, happening)
    return _judge_silence(happening, witness, now)


_WORDS_WITH_WITNESS: Final = {
    Trouble.UNRESOLVABLE: "the name of Cleo's license service can't be resolved",
    Trouble.REFUSED: "Cleo's license service refuses connections",
    Trouble.RESET: "the connection to Cleo's license service broke off",
    Trouble.TIMED_OUT: "Cleo's license service did not answer in time",
    Trouble.NO_ROUTE: "there is no route to Cleo's license service",
    Trouble.CERTIFICATE_DATE: "the certificate of Cleo's license service is out of its dates",
    Trouble.CERTIFICATE_NAME: "the certificate of Cleo's license service is for another name",
}

_OWN_NETWORK: Final = {
    Trouble.PROXY: (
        "the proxy between this node and Cleo's license service does not let the request through; "
        "check HTTPS_PROXY and NO_PROXY, and what the proxy allows"
    ),
    Trouble.CERTIFICATE_UNKNOWN: (
        "the certificate that answers for Cleo's license service comes from an unknown authority; "
        "if a proxy inspects TLS here, name its authority in HARMONY_AGENT_CA_BUNDLE"
    ),
}


def _judge_silence(happening: NoAnswer, witness: Witness, now: float) -> Unreached:
    trouble = happening.trouble
    if trouble in _OWN_NETWORK:
        return Unreached(Fault.CUSTOMER, trouble.value, _OWN_NETWORK[trouble])
    words = _WORDS_WITH_WITNESS[trouble]
    if not witness.answers:
        return Unreached(
            Fault.CUSTOMER,
            trouble.value,
            f"{words}, and Cleo's ticket service can't be reached from here either; "
            "check this node's network, DNS, firewall and proxy",
        )
    if trouble in (Trouble.CERTIFICATE_DATE, Trouble.CERTIFICATE_NAME) and not _clock_is_right(
        witness, now
    ):
        return Unreached(
            Fault.CUSTOMER,
            trouble.value,
            f"{words}, and this node's clock could not be confirmed by Cleo's ticket service; "
            "check the node's clock",
        )
    return Unreached(
        Fault.CLEO, trouble.value, f"{words}, while Cleo's ticket service answers from here"
    )


def _clock_is_right(witness: Witness, now: float) -> bool:
    return witness.date is not None and abs(witness.date - now) <= _CLOCK_TOLERANCE


def _judge_answer(question: Question, answer: Answer) -> Meaning:
    if answer.status != 200:
        return _cleo(f"http-{answer.status // 100}xx", f"answered HTTP {answer.status}")
    body = _json_object(answer.body)
    if body is None or not _well_formed(body):
        return _cleo("malformed", "sent an answer that is not well formed")
    if body["requestId"] != question.request_id:
        return _cleo("mismatch", "answered another request than this node's")
    if question.serial is not None and body["serial"] != question.serial:
        return _cleo("mismatch", "answered for another serial than this license's")
    message = _one_line(body.get("message"))
    if body["status"] == "valid":
        serial = body["serial"]
        known = serial if serial is not None and is_serial(serial) else None
        return Verified(known, _one_line(body.get("expires")), message)
    if body["status"] in _REFUSALS:
        return Refusal(body["status"], message)
    return _cleo("unknown-word", "answered with a word that this agent does not know")


def _cleo(kind: str, did: str) -> Unreached:
    return Unreached(Fault.CLEO, kind, f"Cleo's license service {did}")


def _json_object(body: bytes | None) -> dict[str, Any] | None:
    try:
        value = json.loads(body or b"")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _well_formed(body: dict[str, Any]) -> bool:
    texts = isinstance(body.get("status"), str) and isinstance(body.get("requestId"), str)
    maybe = all(
        body.get(name) is None or isinstance(body[name], str)
        for name in ("serial", "expires", "message")
    )
    return texts and maybe and "serial" in body


def _one_line(text: str | None) -> str | None:
    """What a service says goes into logs and mails: one line of sane length."""
    if text is None:
        return None
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300] or None
