"""How the license's standing shows: readiness line, metrics, `/api/status`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harmony_agent.license import metrics
from harmony_agent.license.classify import Meaning, Refusal, Unreached
from harmony_agent.license.courier import Done
from harmony_agent.license.machine import Standing, State
from harmony_agent.lifecycle.health import Health

__all__ = ["NAME", "Report", "count", "show", "utc"]

NAME = "license"
"""The part's name in probes, startup steps and status."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is reported: the standing, the seconds of grace that are `left` (None outside of it),
    the believed time and the next attempt (seconds since 1970), mails and ticket and how far they
    have come, the ones of late, and why the administrator can't be mailed."""

    standing: Standing
    left: float | None
    now: float
    next_attempt: float
    errands: Mapping[str, str]
    history: Sequence[Done]
    mail_problem: str | None

    @property
    def deadline(self) -> float | None:
        """The end of the grace period; None outside of it."""
        return None if self.left is None else self.now + self.left

    def sentence(self) -> str:
        """The standing in one sentence, for a person."""
        standing = self.standing
        if standing.state is State.VALID:
            troubled = f", but not verified now: {standing.cause}" if standing.cause else ""
            return f"valid{troubled}"
        if standing.state is State.GRACE:
            return f"grace period until {_utc(self.deadline)}: {standing.cause}"
        if standing.state is State.UNVERIFIED:
            waits = "; waits for the configuration repository before it judges"
            return f"not verified yet{': ' + standing.cause + waits if standing.cause else ''}"
        return f"{standing.state.value}: {standing.cause}"

    def to_json(self) -> dict[str, Any]:
        """The section of `/api/status`: JSON values, times in UTC, no secrets."""
        standing = self.standing
        success, outage = standing.record.success, standing.outage
        return {
            "state": standing.state.value,
            "message": self.sentence(),
            "cause": standing.cause or None,
            "serial": success.serial if success else None,
            "lastVerification": _utc(success.at) if success else None,
            "lastVerifiedBy": success.node if success else None,
            "nextAttempt": _utc(self.next_attempt),
            "outage": outage.id if outage else None,
            "graceStarted": _utc(outage.start) if outage else None,
            "graceEnds": _utc(self.deadline),
            "graceRemainingSeconds": self.left,
            "ticket": outage.ticket if outage else None,
            "errands": dict(self.errands),
            "history": [_event(done) for done in self.history],
            "mailProblem": self.mail_problem,
        }


def count(meaning: Meaning) -> None:
    """Count one attempt."""
    if isinstance(meaning, Unreached):
        metrics.VERIFICATIONS.labels(meaning.fault.value).inc()
    else:
        refused = isinstance(meaning, Refusal)
        metrics.VERIFICATIONS.labels("refused" if refused else "verified").inc()


def show(report: Report, health: Health) -> None:
    """Set the readiness line and the gauges."""
    state = report.standing.state
    if state in (State.REFUSED, State.OVER):
        health.fail(NAME, report.sentence())
    elif state is State.VALID and not report.standing.cause:
        health.ok(NAME, report.sentence())
    else:
        health.trouble(NAME, report.sentence())
    for each in State:
        metrics.STATE.labels(each.value).set(each is state)
    metrics.GRACE_REMAINING.set(float("nan") if report.left is None else report.left)
    success = report.standing.record.success
    metrics.LAST_SUCCESS.set(success.at if success else float("nan"))


def _event(done: Done) -> dict[str, str]:
    return {
        "time": utc(done.at),
        "what": done.what,
        "outcome": done.outcome,
        "node": done.node,
        "outage": done.outage,
    }


def utc(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")[:-6] + "Z"


def _utc(seconds: float | None) -> str | None:
    return None if seconds is None else utc(seconds)
