"""Which state follows: the license's state machine (design, "License service", rules 1 to 4).

Pure: outcomes, time and the shared record come in, the new standing and what has to be done come
out. It knows no network, no files and no clock of its own.

    unverified ──valid──────────────▶ valid ◀──────────success on any node───────┐
        │                              │                                         │
        ├──refused, never verified──▶ refused     └──refused──▶ grace ──4 days──▶ over
        └──unreachable────────────────────────────────────────────┘

`refused` and `over` end Harmony. A later start that is verified goes to `valid` from either.
"""

from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import Final

from harmony_agent.license.classify import Fault, Meaning, Refusal, Unreached, Verified
from harmony_agent.license.clock import Meter, Moment
from harmony_agent.license.record import (
    EMPTY,
    Outage,
    OutageKind,
    Record,
    Rejection,
    Success,
    plausible,
)

__all__ = [
    "Effect",
    "History",
    "LetRun",
    "OpenTicket",
    "Policy",
    "SendMail",
    "Standing",
    "State",
    "Stop",
    "Surroundings",
    "forget_license",
    "goes_on",
    "judge",
    "remaining",
    "seconds_to_next_event",
    "tick",
]

_DAY: Final = 86400.0
_LAST_WARNING: Final = 4 * 3600.0
_BORROWED_SLACK: Final = 3600.0  # on top of the interval: the other node may be a little late

_ENDED_KEPT: Final = 8  # an outage is long over when that many came after it


class State(StrEnum):
    """Where the license stands for this node."""

    UNVERIFIED = "unverified"
    VALID = "valid"
    GRACE = "grace"
    OVER = "over"
    REFUSED = "refused"


_RUNNING: Final = (State.VALID, State.GRACE)


class History(Enum):
    """Whether it is known what other nodes and earlier processes saw of this license."""

    KNOWN = "known"
    AWAITED = "awaited"  # no local copy, and the repository was not read yet: don't judge
    UNKNOWN = "unknown"  # waited long enough: judge, but take no Harmony for a new one


@dataclass(frozen=True, slots=True)
class Policy:
    """The periods, in seconds: grace, re-verification when valid, retry otherwise."""

    grace: float
    interval: float
    retry: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a judgement needs besides the standing: this node's name, the time, what is known of
    the past, and a fresh UUID in case an outage opens."""

    node: str
    moment: Moment
    history: History
    new_id: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What this node knows and remembers.

    `counts` is the kind of outage that counts here, `meter` how much of it has elapsed, `mailed`
    the mails asked for in it. Record, counts, meter and mailed survive a restart. `verified_here`
    means: verified by this very process. `ran_valid`: this Harmony runs since the license before
    this one was valid. `failing_since`: the first failure that could not be judged yet.
    """

    record: Record = EMPTY
    counts: OutageKind | None = None
    meter: Meter | None = None
    mailed: frozenset[str] = frozenset()
    state: State = State.UNVERIFIED
    verified_here: bool = False
    ran_valid: bool = False
    failing_since: float | None = None
    cause: str = ""

    @property
    def outage(self) -> Outage | None:
        """The outage that counts here."""
        return self.record.outage(self.counts) if self.counts is not None else None


@dataclass(frozen=True, slots=True)
class SendMail:
    """The administrator has to know; `kind` names the mail within its outage."""

    kind: str
    outage: Outage


@dataclass(frozen=True, slots=True)
class OpenTicket:
    """Cleo is at fault and has to know."""

    outage: Outage
    kind: str
    cause: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Harmony has to end."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class LetRun:
    """Harmony may run; an exit told before is taken back."""


Effect = SendMail | OpenTicket | Stop | LetRun
Step = tuple[Standing, list[Effect]]


def judge(standing: Standing, meaning: Meaning, around: Surroundings, policy: Policy) -> Step:
    """What follows from one attempt to verify.

    `standing.record` is already merged with the repository's, as far as that can be read.
    """
    before = standing.state
    standing = replace(standing, record=plausible(standing.record, around.moment.now))
    if isinstance(meaning, Verified):
        standing, effects = _verified(standing, meaning, around)
    else:
        standing, effects = _not_verified(standing, meaning, around, policy)
    if standing.state in _RUNNING and before not in _RUNNING:
        effects.insert(0, LetRun())
    return standing, effects


def tick(standing: Standing, moment: Moment, policy: Policy) -> Step:
    """What follows from nothing but time: reminders, and the end of the grace."""
    outage = standing.outage
    if standing.state is not State.GRACE or outage is None or standing.meter is None:
        return standing, []
    return _in_outage(standing, outage, moment, policy)


def forget_license(standing: Standing) -> Standing:
    """The standing after a rotation: another license starts afresh, but a Harmony that runs since
    the license before was valid is not stopped at once by a mistake in the new one."""
    return Standing(ran_valid=standing.state is State.VALID)


def goes_on(before: Standing, after: Standing) -> bool:
    """Whether the same outage counts before and after; it may have turned out to be older."""
    if before.meter is None or after.meter is None or before.counts is not after.counts:
        return False
    return after.outage is not None and after.meter.start <= before.meter.start


def remaining(standing: Standing, policy: Policy) -> float | None:
    """Seconds of grace that are left; None outside of grace."""
    if standing.state is not State.GRACE or standing.meter is None:
        return None
    return max(0.0, policy.grace - standing.meter.elapsed)


def seconds_to_next_event(standing: Standing, policy: Policy) -> float | None:
    """Seconds until `tick` has something to do; None outside of grace."""
    left = remaining(standing, policy)
    if left is None:
        return None
    elapsed = policy.grace - left
    next_day = (int(elapsed // _DAY) + 1) * _DAY - elapsed
    return min(w for w in (left, left - _LAST_WARNING, next_day) if w > 0 or w == left)


def _verified(standing: Standing, meaning: Verified, around: Surroundings) -> Step:
    before = standing.record
    last = before.success or Success(0.0, around.node)
    # A success never goes back in time, whatever the node's clock.
    at = max(around.moment.now, last.at)
    ended = (*(o.id for o in before.outages), *last.ended)[:_ENDED_KEPT]
    success = Success(at, around.node, meaning.serial or last.serial, ended)
    effects: list[Effect] = [SendMail("verified-again", o) for o in before.outages[:1]]
    return Standing(record=Record(success), state=State.VALID, verified_here=True), effects


def _not_verified(
    standing: Standing, meaning: Refusal | Unreached, around: Surroundings, policy: Policy
) -> Step:
    standing = replace(standing, cause=meaning.cause)
    outage = _running_outage(standing)
    if outage is None:
        settled = (
            _settle_refusal(standing, meaning, around)
            if isinstance(meaning, Refusal)
            else _settle_silence(standing, around, policy)
        )
        if settled is not None:
            return settled, _stop_if_rejected(settled)
        kind = OutageKind.REFUSED if isinstance(meaning, Refusal) else OutageKind.UNREACHABLE
        outage = _open(kind, standing, around)
    standing, effects = _in_outage(
        _join(standing, outage, around.moment), outage, around.moment, policy
    )
    if (
        standing.state is State.GRACE
        and isinstance(meaning, Unreached)
        and meaning.fault is Fault.CLEO
        and outage.ticket is None
    ):
        effects.append(OpenTicket(outage, meaning.kind, meaning.cause))
    return standing, effects


def _running_outage(standing: Standing) -> Outage | None:
    """The outage that counts for this node, if one runs.

    A node that verified the license itself is not touched by others who can't reach the service;
    its own notice begins with a refusal. What once counts goes on counting, also after a restart.
    """
    if standing.verified_here:
        return standing.record.refused
    if standing.outage is not None:
        return standing.outage
    return standing.record.outages[0] if standing.record.outages else None


def _settle_refusal(standing: Standing, meaning: Refusal, around: Surroundings) -> Standing | None:
    """What a refusal means while no outage runs; None: an outage begins."""
    if standing.record.success is not None or standing.ran_valid:
        return None
    if around.history is History.AWAITED:
        return _waiting(standing, around)
    if around.history is History.UNKNOWN:
        return None
    rejection = standing.record.rejection or Rejection(
        around.moment.now, around.node, meaning.status, meaning.message
    )
    record = replace(standing.record, rejection=rejection)
    return replace(standing, record=record, state=State.REFUSED)


def _settle_silence(standing: Standing, around: Surroundings, policy: Policy) -> Standing | None:
    """What an unreachable service means while no outage runs; None: an outage begins."""
    success = standing.record.success
    since = around.moment.now - success.at if success is not None else None
    fresh = since is not None and since <= policy.interval + _BORROWED_SLACK
    if standing.verified_here or fresh:
        return replace(standing, state=State.VALID, counts=None, meter=None, mailed=frozenset())
    if standing.record.rejection is not None:
        said = standing.record.rejection
        cause = Refusal(said.status, said.message).cause
        return replace(standing, state=State.REFUSED, cause=cause)
    return _waiting(standing, around) if around.history is History.AWAITED else None


def _waiting(standing: Standing, around: Surroundings) -> Standing:
    since = standing.failing_since
    return replace(
        standing,
        state=State.UNVERIFIED,
        failing_since=around.moment.now if since is None else since,
    )


def _stop_if_rejected(standing: Standing) -> list[Effect]:
    if standing.state is not State.REFUSED:
        return []
    return [Stop("license-refused", f"{standing.cause}. Harmony may not run on it.")]


def _open(kind: OutageKind, standing: Standing, around: Surroundings) -> Outage:
    success = standing.record.success
    since = standing.failing_since
    start = around.moment.now if since is None else since
    # Never before the last success, else the outage would count as ended by it.
    start = max(start, success.at if success is not None else 0.0)
    return Outage(around.new_id, kind, start, around.node, standing.cause)


def _join(standing: Standing, outage: Outage, moment: Moment) -> Standing:
    """The outage counts here from now on, or goes on counting."""
    goes_on = standing.meter is not None and standing.counts is outage.kind
    if goes_on and standing.meter is not None and outage.start <= standing.meter.start:
        meter, mailed = standing.meter.from_start(outage.start, moment), standing.mailed
    else:
        meter, mailed = Meter.begin(outage.start, moment), frozenset[str]()
    return replace(
        standing,
        record=standing.record.with_outage(outage),
        counts=outage.kind,
        meter=meter,
        mailed=mailed,
        verified_here=False,
        ran_valid=False,
        failing_since=None,
    )


def _in_outage(standing: Standing, outage: Outage, moment: Moment, policy: Policy) -> Step:
    """Grace or over, by what has elapsed, and the mails that are due."""
    assert standing.meter is not None
    meter = standing.meter.at(moment)
    over = meter.elapsed >= policy.grace
    due = [k for k in _mails_due(meter.elapsed, policy.grace) if k not in standing.mailed]
    effects: list[Effect] = [SendMail(kind, outage) for kind in due]
    if over:
        effects.append(Stop("grace-over", f"The grace period is over. {standing.cause}."))
    state = State.OVER if over else State.GRACE
    return replace(standing, meter=meter, state=state, mailed=standing.mailed | set(due)), effects


def _mails_due(elapsed: float, grace: float) -> list[str]:
    """The mails that should have gone out by now; of several reminders only the latest."""
    if elapsed >= grace:
        return ["over"]
    if elapsed >= grace - _LAST_WARNING and grace > _LAST_WARNING:
        return ["grace-started", "last-warning"]
    days = int(elapsed // _DAY)
    return ["grace-started", f"reminder-{days}"] if days else ["grace-started"]
