"""What the administrator is told, in plain text and HTML. Pure: nothing is sent from here."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from typing import Final

from harmony_agent.core.errors import Refused
from harmony_agent.core.redaction import redact
from harmony_agent.license.classify import Fault
from harmony_agent.license.record import Outage, OutageKind

__all__ = ["Facts", "compose"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a mail tells: `cause` in a person's words, `fault` of an unreachable service, `left`
    the seconds of grace that are left, `now` and `started` in seconds since 1970."""

    system: str
    node: str
    serial: str | None
    license_url: str
    outage: Outage
    cause: str
    fault: Fault
    left: float
    now: float

    @property
    def deadline(self) -> str:
        """The end of the grace period, in UTC."""
        return _utc(self.now + self.left)


@dataclass(frozen=True, slots=True)
class _Letter:
    subject: str
    paragraphs: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def compose(kind: str, facts: Facts, sender: str, administrator: str) -> EmailMessage:
    """The mail of this kind: `grace-started`, `reminder-<days>`, `last-warning`, `over` or
    `verified-again`. Raises Refused if an address can't stand in a mail."""
    letter = _write(kind, facts)
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = Address("harmony-agent", addr_spec=sender)
        message["To"] = Address(addr_spec=administrator)
        message["Subject"] = letter.subject
    except (ValueError, IndexError, MessageError) as error:
        raise Refused(
            f"{sender!r} or {administrator!r} is no mail address; check HARMONY_AGENT_ADMIN_EMAIL "
            "and HARMONY_AGENT_FROM_EMAIL"
        ) from error
    message["Date"] = format_datetime(datetime.fromtimestamp(facts.now, UTC))
    # The same id whichever node sends it and however often: mail programs show it once.
    message["Message-ID"] = _message_id(kind, facts.outage)
    if kind != "grace-started":
        message["References"] = _message_id("grace-started", facts.outage)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers from holiday responders
    message.set_content(redact(_text(letter)))
    message.add_alternative(redact(_html(letter)), subtype="html")
    return message


def _write(kind: str, facts: Facts) -> _Letter:
    where = f"Cleo Harmony {facts.system}"
    if kind == "verified-again":
        return _Letter(
            f"{where}: license verified again",
            ("The license was verified. The grace period has ended; there is nothing to do.",),
            _facts(facts),
        )
    if kind == "over":
        return _Letter(
            f"{where}: grace period over, Harmony is being stopped",
            (
                "The license could not be verified within the grace period.",
                "Harmony is being stopped and does not start again until the license is verified.",
                _advice(facts),
            ),
            _facts(facts),
        )
    ends = ("Grace period ends", facts.deadline)
    if kind == "grace-started":
        subject = f"{where}: license not verified, grace period until {facts.deadline}"
        first = f"The license is not verified. A grace period runs until {facts.deadline}."
    else:
        subject = f"{where}: license still not verified, {_in_words(facts.left)} left"
        first = (
            f"The license is still not verified. The grace period ends in {_in_words(facts.left)}, "
            f"on {facts.deadline}."
        )
    consequence = (
        "Until then Harmony works as usual. If the license is not verified by then, "
        "all Harmony nodes that can't verify it are stopped."
    )
    return _Letter(subject, (first, consequence, _advice(facts)), (*_facts(facts), ends))


def _advice(facts: Facts) -> str:
    if facts.outage.kind is OutageKind.REFUSED:
        return (
            "What to do: ask Cleo about this license. Put a new license into the secrets "
            "cleo-license and cleo-license-verification-code; it takes effect without a restart."
        )
    if facts.fault is Fault.CLEO:
        told = f"Ticket {facts.outage.ticket}" if facts.outage.ticket else "A ticket"
        verb = "is open" if facts.outage.ticket else "is being opened"
        return (
            f"What to do: nothing in your network. {told} {verb} at Cleo. "
            "If this goes on until the last day, call Cleo's support."
        )
    return (
        f"What to do: let this node reach {facts.license_url} by HTTPS. Check DNS, firewall, "
        "proxy (HTTPS_PROXY, NO_PROXY) and the node's clock. The command harmony-agent check "
        "tells what is missing."
    )


def _facts(facts: Facts) -> tuple[tuple[str, str], ...]:
    lines = [
        ("System", facts.system),
        ("Node", facts.node),
        ("Serial", facts.serial or "not known"),
        ("Cause", facts.cause or facts.outage.cause),
        ("Not verified since", _utc(facts.outage.start)),
    ]
    if facts.outage.ticket:
        lines.append(("Ticket at Cleo", facts.outage.ticket))
    return (*lines, ("Outage", facts.outage.id))


def _text(letter: _Letter) -> str:
    width = max(len(name) for name, _ in letter.facts) + 1
    table = "\n".join(f"{name + ':':<{width}} {value}" for name, value in letter.facts)
    return "\n\n".join([*letter.paragraphs, table]) + "\n"


_STYLE: Final = "font-family:sans-serif;font-size:14px;line-height:1.5"


def _html(letter: _Letter) -> str:
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in letter.paragraphs)
    rows = "".join(
        f'<tr><th align="left">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in letter.facts
    )
    return (
        f'<!doctype html><html lang="en"><body style="{_STYLE}">'
        f'{paragraphs}<table cellpadding="4">{rows}</table></body></html>\n'
    )


def _message_id(kind: str, outage: Outage) -> str:
    return f"<{kind}.{outage.id}@harmony-agent.invalid>"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _in_words(seconds: float) -> str:
    left = timedelta(seconds=max(0.0, seconds))
    hours = round(left.total_seconds() / 3600)
    if hours >= 48:
        return f"{round(hours / 24)} days"
    return f"{hours} hours" if hours > 1 else f"{round(left.total_seconds() / 60)} minutes"
