"""What the administrator is told. Pure: nothing is sent from here."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from harmony_agent.license.classify import Fault
from harmony_agent.license.letter import Letter
from harmony_agent.license.record import Outage, OutageKind

__all__ = ["Facts", "write"]

_ROOM_FOR_NAMES: Final = 60  # characters of the system's name in a subject
_NO_GRACE: Final = (
    "Cleo's license service refuses this license. Harmony never ran on it, so there is no grace "
    "period: it does not start until the license is verified. Each start of the agent tries that "
    "anew."
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a mail tells: `cause` in a person's words, `fault` of an unreachable service, `left`
    the seconds of grace that are left, `now` in seconds since 1970, `time_zone` the
    administrator's, by its IANA name."""

    system: str
    node: str
    serial: str | None
    license_url: str
    outage: Outage
    cause: str
    fault: Fault
    left: float
    now: float
    time_zone: str | None = None

    @property
    def deadline(self) -> float:
        """The end of the grace period, in seconds since 1970."""
        return self.now + self.left

    def when(self, seconds: float) -> str:
        """A time in UTC, and in the administrator's zone if that is known and another one."""
        if self.time_zone is None or ZoneInfo(self.time_zone).key == "UTC":
            return _utc(seconds)
        local = datetime.fromtimestamp(seconds, ZoneInfo(self.time_zone))
        return f"{_utc(seconds)} ({local:%a %Y-%m-%d %H:%M}, {self.time_zone})"


def write(kind: str, facts: Facts) -> Letter:
    """The mail of this kind: `refused`, `grace-started`, `reminder-<days>`, `last-warning`, `over`
    or `verified-again`."""
    name = facts.system
    if len(name) > _ROOM_FOR_NAMES:
        name = name[: _ROOM_FOR_NAMES - 1] + "…"
    where = f"Cleo Harmony {name}"
    if kind == "verified-again":
        return Letter(
            f"{where}: license verified again",
            ("The license was verified. Harmony may run; there is nothing to do.",),
            _facts(facts),
        )
    if kind == "refused":
        return Letter(
            f"{where}: license refused, Harmony does not start",
            (_NO_GRACE, _advice(facts)),
            _facts(facts),
        )
    if kind == "over":
        return Letter(
            f"{where}: grace period over, Harmony is being stopped",
            (
                "The license could not be verified within the grace period.",
                "Harmony is being stopped and does not start again until the license is verified.",
                _advice(facts, over=True),
            ),
            _facts(facts),
        )
    return _write_in_grace(kind, facts, where)


def _write_in_grace(kind: str, facts: Facts, where: str) -> Letter:
    ends = facts.when(facts.deadline)
    if kind == "grace-started":
        subject = f"{where}: license not verified, grace period until {_utc(facts.deadline)}"
        first = f"The license is not verified. A grace period runs until {ends}."
    else:
        subject = f"{where}: license still not verified, {_in_words(facts.left)} left"
        first = (
            f"The license is still not verified. The grace period ends in {_in_words(facts.left)}, "
            f"on {ends}."
        )
    consequence = (
        "Until then Harmony works as usual. If the license is not verified by then, "
        "all Harmony nodes that can't verify it are stopped."
    )
    return Letter(subject, (first, consequence, _advice(facts)), _facts(facts, ends))


def _advice(facts: Facts, *, over: bool = False) -> str:
    if facts.outage.kind is OutageKind.REFUSED:
        return (
            "What to do: ask Cleo about this license. Put a new license into the secrets "
            "cleo-license and cleo-license-verification-code; it takes effect without a restart."
        )
    if facts.fault is Fault.CLEO:
        told = f"Ticket {facts.outage.ticket}" if facts.outage.ticket else "A ticket"
        verb = "is open" if facts.outage.ticket else "is being opened"
        call = "Call" if over else "If this goes on until the last day, call"
        return f"What to do: nothing in your network. {told} {verb} at Cleo. {call} Cleo's support."
    return (
        f"What to do: let this node reach {facts.license_url} by HTTPS. Check DNS, firewall, "
        "proxy (HTTPS_PROXY, NO_PROXY) and the node's clock. The command harmony-agent check "
        "tells what is missing."
    )


def _facts(facts: Facts, ends: str | None = None) -> tuple[tuple[str, str], ...]:
    lines = [
        ("System", facts.system),
        ("Node", facts.node),
        ("Serial", facts.serial or "not known"),
        ("Cause", facts.cause or facts.outage.cause),
        ("Not verified since", facts.when(facts.outage.start)),
    ]
    if ends is not None:
        lines.append(("Grace period ends", ends))
    if facts.outage.ticket:
        lines.append(("Ticket at Cleo", facts.outage.ticket))
    return (*lines, ("Outage", facts.outage.id))


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _in_words(seconds: float) -> str:
    left = timedelta(seconds=max(0.0, seconds))
    hours = round(left.total_seconds() / 3600)
    if hours >= 48:
        return f"{round(hours / 24)} days"
    return f"{hours} hours" if hours > 1 else f"{round(left.total_seconds() / 60)} minutes"
