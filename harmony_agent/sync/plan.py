"""From decisions to actions: what is done now, what is held and why, and in which order. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from harmony_agent.sync.compare import Decision, decide
from harmony_agent.sync.policies import DELETING_ACTS, REMOTE_ACTS, Act, Policy, Verdict
from harmony_agent.sync.states import (
    BaseRow,
    LocalFile,
    LocalState,
    Obstacle,
    RemoteFile,
    RemoteState,
)

__all__ = ["Action", "Case", "Circumstances", "Plan", "deletes_allowed", "in_order", "make_plan"]

_TOO_MANY: Final = Verdict(
    Act.HOLD,
    "one of more deletes than HARMONY_AGENT_MAX_DELETE allows; if they are meant, run "
    "'harmony-agent sync --once --accept-deletes'",
    alarm=True,
)
_NOT_OURS: Final = Verdict(Act.HOLD, "waits until this host's folder is ours to write")
_KEPT_BACK: Final = Verdict(
    Act.HOLD,
    "only here, and no record says whether it is new or was deleted elsewhere; save it again to "
    "share it, or delete it",
    alarm=True,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One file with all that is known of it."""

    path: str
    local: LocalState
    base: BaseRow | None
    remote: RemoteState


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do: carried out only if the file still is as `case` says."""

    act: Act
    case: Case

    @property
    def path(self) -> str:
        """The file's path."""
        return self.case.path

    @property
    def local(self) -> LocalFile:
        """Home's version, for acts that need one."""
        assert isinstance(self.case.local, LocalFile)
        return self.case.local

    @property
    def remote(self) -> RemoteFile:
        """The repository's version, for acts that need one."""
        assert self.case.remote is not None
        return self.case.remote

    @property
    def size(self) -> int:
        """Bytes that carrying it out holds in memory; 0 if none are moved."""
        if self.act in (Act.CREATE, Act.REPLACE):
            return self.local.size
        if self.act in (Act.FETCH, Act.EXCHANGE, Act.LOOK, Act.OVERRULE, Act.RETIRE):
            return self.remote.size
        return 0


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a plan depends on besides the files themselves.

    `known` is how many files the fuller side has; more than the share `max_delete` of them (at
    least 20) are not deleted, and not all of them unless this side `may_empty`, except with
    `accept_deletes`. A delete travels once the file is gone for `delete_after` seconds;
    `gone_for` tells for how long each is. `kept_back` are files that only home has and that must
    not travel in the version given (content hash by path).
    """

    known: int
    max_delete: float
    may_empty: bool
    may_write: bool = True
    accept_deletes: bool = False
    delete_after: float = 0.0
    gone_for: Mapping[str, float] = field(default_factory=dict)
    kept_back: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """What is done now, what is held and why, which files still have to come to rest, and which
    deletes wait until they are sure (seconds until then)."""

    actions: list[Action] = field(default_factory=list)
    held: dict[str, Verdict] = field(default_factory=dict)
    restless: list[str] = field(default_factory=list)
    unsure: dict[str, float] = field(default_factory=dict)


def make_plan(cases: Iterable[Case], policy: Policy, now: Circumstances) -> Plan:
    """What `policy` does about `cases` under the circumstances `now`."""
    plan = Plan()
    deletes = []
    for case in cases:
        if isinstance(case.local, Obstacle):
            if case.local.passing:
                plan.restless.append(case.path)
            else:
                plan.held[case.path] = Verdict(Act.HOLD, case.local.reason, alarm=True)
            continue
        verdict = _verdict(case, policy, now)
        if verdict.act is Act.HOLD:
            plan.held[case.path] = verdict
        elif verdict.act in DELETING_ACTS:
            deletes.append(Action(verdict.act, case))
        else:
            plan.actions.append(Action(verdict.act, case))
    _guard(deletes, plan, now)
    return plan


def _verdict(case: Case, policy: Policy, now: Circumstances) -> Verdict:
    decision = decide(case.local, case.base, case.remote)
    verdict = policy.verdict(decision)
    if (
        decision is Decision.LOCAL_NEW
        and verdict.act is Act.CREATE
        and isinstance(case.local, LocalFile)
        and now.kept_back.get(case.path) == case.local.sha256
    ):
        return _KEPT_BACK
    if verdict.act in REMOTE_ACTS and not now.may_write:
        return _NOT_OURS
    return verdict


def _guard(deletes: list[Action], plan: Plan, now: Circumstances) -> None:
    allowed = now.accept_deletes or deletes_allowed(
        len(deletes), now.known, now.max_delete, may_empty=now.may_empty
    )
    for action in deletes:
        missing = now.delete_after - now.gone_for.get(action.path, now.delete_after)
        if not allowed:
            plan.held[action.path] = _TOO_MANY
        elif missing > 0:
            plan.unsure[action.path] = missing
        else:
            plan.actions.append(action)


def deletes_allowed(wanted: int, known: int, share: float, *, may_empty: bool) -> bool:
    """Whether `wanted` deletes out of `known` files look like ordinary work.

    More than `share` of the files (at least 20) look like a volume that is gone; so do all of
    them, unless this side `may_empty` in ordinary work (receipts and restarts come and go).
    """
    return wanted <= max(20, int(known * share)) and (may_empty or wanted < known)


# A host names its certificates and options: what is referred to arrives first and leaves last.
_RANKS: Final = {"certs": 0, "data": 1, "hosts": 3}
_OTHER_RANK: Final = 2


def in_order(actions: Iterable[Action]) -> list[list[Action]]:
    """The actions in groups that are carried out one after the other: certificates, user
    certificates, options, hosts; then deletes in the reverse order."""
    groups: dict[int, list[Action]] = {}
    for action in actions:
        rank = _RANKS.get(action.path.partition("/")[0], _OTHER_RANK)
        groups.setdefault(7 - rank if action.act in DELETING_ACTS else rank, []).append(action)
    return [groups[rank] for rank in sorted(groups)]
