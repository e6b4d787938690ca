"""Which state follows: the license's state machine (design, "License service", rules 1 to 4).

Pure: outcomes, time and the shared record come in, the new standing and what has to be done come
out. It knows no network, no files and no clock of its own.

    unverified ──valid──────────────▶ valid ◀──────────success on any node───────┐
        │                              │                                         │
        ├──refused, never verified──▶ refused     └──refused──▶ grace ──4 days──▶ over
        └──unreachable────────────────────────────────────────────┘

`refused` and `over` end Harmony. A later start that is verified goes to `valid` from either.
"""

import uuid
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
    "would_end",
]

_DAY: Final = 86400.0
_LAST_WARNING: Final = 4 * 3600.0
_BORROWED_SLACK: Final = 3600.0  # on top of the interval: the other node may be a little late

_ENDED_KEPT: Final = 8  # an outage is long over when that many came after it

_REFUSED_MAIL: Final = "refused"
_REJECTIONS: Final = uuid.UUID("6b2f6f0e-1f0b-5d5e-9c0e-2f6d9f1f7a77")  # names cases by uuid5


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
    means: verified by this very process. `ran_before`: this Harmony runs since the license before
    this one let it, and `notice` is the outage which that one was in.
    `failing_since`: the first failure that could not be judged yet.
    """

    record: Record = EMPTY
    counts: OutageKind | None = None
    meter: Meter | None = None
    mailed: frozenset[str] = frozenset()
    state: State = State.UNVERIFIED
    verified_here: bool = False
    ran_before: bool = False
    notice: Outage | None = None
    failing_since: float | None = None
    cause: str = ""

    @property
    def outage(self) -> Outage | None:
        """The outage that counts here."""
        return self.record.outage(self.counts) if self.counts is not None else None

    @property
    def case(self) -> Outage | None:
        """What the administrator is written about: the outage, or the refusal at a first start."""
        return self.outage or _case_of(self.record)


@dataclass(frozen=True, slots=True)
class SendMail:
    """The administrator has to know; `kind` names the mail within its outage (`Standing.case`)."""

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


def would_end(standing: Standing, moment: Moment, policy: Policy) -> bool:
    """Whether `tick` would stop Harmony now."""
    return any(isinstance(effect, Stop) for effect in tick(standing, moment, policy)[1])


def forget_license(standing: Standing) -> Standing:
    """The standing after a rotation: another license starts afresh, but a mistake in it does not
    stop a running Harmony at once: it has four days, or what is left of the grace it is in."""
    outage = standing.outage if standing.state is State.GRACE else None
    return Standing(ran_before=standing.state in _RUNNING, notice=outage)


def goes_on(before: Standing, after: Standing) -> bool:
    """Whether the same outage or refusal counts before and after; it may have turned out to be
    older."""
    if before.counts is not after.counts:
        return False
    if before.meter is None or after.meter is None:
        return before.record.rejection is not None and after.record.rejection is not None
    return after.outage is not None and after.meter.start <= before.meter.start


def remaining(standing: Standing, policy: Policy, moment: Moment | None = None) -> float | None:
    """Seconds of grace that are left at `moment`, or were at the last judgement; None outside of
    grace."""
    if standing.state is not State.GRACE or standing.meter is None:
        return None
    meter = standing.meter if moment is None else standing.meter.at(moment)
    return max(0.0, policy.grace - meter.elapsed)


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
    told = (*before.outages, _case_of(before) or standing.notice)[0]
    effects: list[Effect] = [SendMail("verified-again", told)] if told is not None else []
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
            return _stop_if_rejected(settled)
        # A rejection that did not settle it: a newcomer was refused, and this Harmony has notice.
        refused = isinstance(meaning, Refusal) or standing.record.rejection is not None
        kind = OutageKind.REFUSED if refused else OutageKind.UNREACHABLE
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
    if standing.record.success is not None or standing.ran_before:
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
    if standing.record.rejection is not None and not standing.ran_before:
        said = standing.record.rejection
        cause = Refusal(said.status, said.message).cause
        return replace(standing, state=State.REFUSED, cause=cause)
    if standing.record.rejection is not None:
        return None
    return _waiting(standing, around) if around.history is History.AWAITED else None


def _waiting(standing: Standing, around: Surroundings) -> Standing:
    since = standing.failing_since
    return replace(
        standing,
        state=State.UNVERIFIED,
        failing_since=around.moment.now if since is None else since,
    )


def _stop_if_rejected(standing: Standing) -> Step:
    case = standing.case
    if standing.state is not State.REFUSED or case is None:
        return standing, []
    effects: list[Effect] = []
    if _REFUSED_MAIL not in standing.mailed:
        effects.append(SendMail(_REFUSED_MAIL, case))
    effects.append(Stop("license-refused", f"{standing.cause}. Harmony may not run on it."))
    return replace(standing, mailed=frozenset({_REFUSED_MAIL})), effects


def _case_of(record: Record) -> Outage | None:
    """The refusal at a first start as an outage without grace; the same id in every copy."""
    said = record.rejection
    if said is None:
        return None
    named = uuid.uuid5(_REJECTIONS, f"{said.at!r} {said.node} {said.status}")
    cause = Refusal(said.status, said.message).cause
    return Outage(str(named), OutageKind.REFUSED, said.at, said.node, cause)


def _open(kind: OutageKind, standing: Standing, around: Surroundings) -> Outage:
    success = standing.record.success
    since = standing.failing_since
    start = around.moment.now if since is None else since
    if kind is OutageKind.REFUSED and standing.notice is not None:
        start = min(start, standing.notice.start)
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
        ran_before=False,
        notice=None,
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
