"""From decisions to actions: what is done now, what is held and why, and in which order. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from harmony_agent.sync.decisions.compare import Decision, decide
from harmony_agent.sync.decisions.policies import DELETING_ACTS, REMOTE_ACTS, Act, Policy, Verdict
from harmony_agent.sync.decisions.states import (
    BaseRow,
    LocalFile,
    LocalState,
    Obstacle,
    RemoteFile,
    RemoteState,
)

__all__ = [
    "Action",
    "Case",
    "Circumstances",
    "Plan",
    "deletes_allowed",
    "first_of",
    "in_order",
    "make_plan",
]

_TOO_MANY: Final = Verdict(
    Act.HOLD,
    "one of more deletes than HARMONY_AGENT_MAX_DELETE allows; if they are meant, run "
    "'harmony-agent sync --once --accept-deletes'",
    alarm=True,
)
_TWIN: Final = (
    "differs only in case from {}, and the repository can't tell the two apart; rename one of them"
)
_NOT_OURS: Final = Verdict(Act.HOLD, "waits until this host's folder is ours to write")
_KEPT_BACK: Final = Verdict(
    Act.HOLD,
    "only here, and no record says whether it is new or was deleted elsewhere; change it to "
    "share it, or move it to the conflict store by 'harmony-agent sync --once --accept-deletes'",
    alarm=True,
)


class Case(NamedTuple):
    """One file with all that is known of it."""

    path: str
    local: LocalState
    base: BaseRow | None
    remote: RemoteState


class Action(NamedTuple):
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
    def is_news(self) -> bool:
        """Whether home's version was never in step: what was is known to all nodes and not worth
        keeping."""
        return self.case.base is None or self.case.base.sha256 != self.local.sha256

    @property
    def size(self) -> int:
        """Bytes that carrying it out holds in memory; 0 if none are moved."""
        if self.act in (Act.CREATE, Act.REPLACE):
            return self.local.size
        if self.act in (Act.FETCH, Act.EXCHANGE, Act.LOOK, Act.OVERRULE, Act.RETIRE):
            return self.remote.size
        if self.act is Act.CEDE:
            return max(self.local.size, self.remote.size)
        if self.act is Act.RELEGATE:
            return self.local.size
        return 0


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a plan depends on besides the files themselves.

    `known` is how many files the fuller side has; more than the share `max_delete` of them (at
    least 20) are not deleted, and not all of them unless this side `may_empty`, except with
    `accept_deletes`. A delete travels once the file is gone for `delete_after` seconds;
    `gone_for` tells for how long each is. One in the repository is believed once it is confirmed:
    `missing_for` names those that are not, with the seconds until a listing may confirm them.
    `kept_back` are files that only home has and that must not travel in the version given (content
    hash by path); `sent` what was sent without learning what came of it (content hashes by path);
    `twins` such whose name the repository can't tell from that of another file, `unfit` such whose
    name it can't hold at all (with the reason).
    """

    known: int
    max_delete: float
    may_empty: bool
    may_write: bool = True
    accept_deletes: bool = False
    delete_after: float = 0.0
    gone_for: Mapping[str, float] = field(default_factory=dict)
    missing_for: Mapping[str, float] = field(default_factory=dict)
    kept_back: Mapping[str, str] = field(default_factory=dict)
    sent: Mapping[str, Collection[str]] = field(default_factory=dict)
    twins: Mapping[str, str] = field(default_factory=dict)
    unfit: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """What is done now, what is held and why, which files still have to come to rest, which
    deletes wait until they are sure (`unsure`), and which until another listing confirms that the
    file is gone from the repository (`unconfirmed`; both with the seconds until then)."""

    actions: list[Action] = field(default_factory=list)
    held: dict[str, Verdict] = field(default_factory=dict)
    restless: list[str] = field(default_factory=list)
    unsure: dict[str, float] = field(default_factory=dict)
    unconfirmed: dict[str, float] = field(default_factory=dict)

    @property
    def waiting(self) -> set[str]:
        """What is held only until this host's folder is ours to write."""
        return {path for path, verdict in self.held.items() if verdict == _NOT_OURS}


def make_plan(cases: Iterable[Case], policy: Policy, now: Circumstances) -> Plan:
    """What `policy` does about `cases` under the circumstances `now`."""
    plan = Plan()
    deletes = []
    cases = list(cases)
    obstacles = {case.path: case.local for case in cases if isinstance(case.local, Obstacle)}
    for case in cases:
        if (obstacle := _in_the_way(case.path, obstacles)) is not None:
            if obstacle.passing:
                plan.restless.append(case.path)
            else:
                plan.held[case.path] = Verdict(Act.HOLD, obstacle.reason, alarm=True)
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


def _in_the_way(path: str, obstacles: Mapping[str, Obstacle]) -> Obstacle | None:
    """What stands in home at `path` or, as a link to another folder does, at one of its folders:
    what is written there would end up elsewhere."""
    if path in obstacles:
        return obstacles[path]
    folder = path.rpartition("/")[0]
    while obstacles and folder:
        if (found := obstacles.get(folder)) is not None:
            return Obstacle(f"lies below {folder}, which {found.reason}", found.passing)
        folder = folder.rpartition("/")[0]
    return None


def _verdict(case: Case, policy: Policy, now: Circumstances) -> Verdict:
    if (own := _own_write(case, now.sent.get(case.path, ()))) is not None:
        return own
    decision = decide(case.local, case.base, case.remote)
    verdict = policy.verdict(decision)
    # In the conflict store a file's name is a folder's.
    if verdict.act in (Act.CREATE, Act.RELEGATE) and case.path in now.unfit:
        return Verdict(Act.HOLD, now.unfit[case.path], alarm=True)
    if (
        decision is Decision.LOCAL_NEW
        and verdict.act is Act.CREATE
        and isinstance(case.local, LocalFile)
        and now.kept_back.get(case.path) == case.local.sha256
    ):
        return Verdict(Act.RELEGATE) if now.accept_deletes else _KEPT_BACK
    if verdict.act is Act.CREATE and case.path in now.twins:
        return Verdict(Act.HOLD, _TWIN.format(now.twins[case.path]), alarm=True)
    if verdict.act in REMOTE_ACTS and not now.may_write:
        return _NOT_OURS
    return verdict


def _own_write(case: Case, sent: Collection[str]) -> Verdict | None:
    """What to do first about a version in the repository that may be our own: the agent was killed,
    or the answer lost, before the base knew of it. None: nothing."""
    remote, base = case.remote, case.base
    if not sent or remote is None or (base is not None and base.token == remote.token):
        return None
    if remote.sha256 is None:
        return Verdict(Act.LOOK)
    return Verdict(Act.RECALL) if remote.sha256 in sent else None


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
        elif action.path in now.missing_for:
            plan.unconfirmed[action.path] = now.missing_for[action.path]
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
    certificates, options, hosts; then deletes in the reverse order. Within a group by path: what
    is carried out at the same time lies in few folders."""
    groups: dict[int, list[Action]] = {}
    for action in sorted(actions, key=lambda action: action.path):
        rank = _RANKS.get(action.path.partition("/")[0], _OTHER_RANK)
        groups.setdefault(7 - rank if action.act in DELETING_ACTS else rank, []).append(action)
    return [groups[rank] for rank in sorted(groups)]


def first_of(groups: Iterable[list[Action]], most: int | None) -> list[list[Action]]:
    """Of `groups`, in their order, the first `most` actions (None: all) of each direction: a long
    pull must not keep a push waiting."""
    if most is None:
        return list(groups)
    left = {True: most, False: most}
    taken: list[list[Action]] = []
    for group in groups:
        part = []
        for action in group:
            outwards = action.act in REMOTE_ACTS
            if left[outwards]:
                left[outwards] -= 1
                part.append(action)
        if part:
            taken.append(part)
    return taken
