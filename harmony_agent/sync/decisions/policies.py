"""What each side does about a decision, in each phase of its life: one table per phase. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from harmony_agent.sync.decisions.compare import Decision

__all__ = [
    "DELETING_ACTS",
    "FIRST_NODE",
    "FOUNDING",
    "JOINING",
    "MIRROR",
    "RECLAIM",
    "REJOINING",
    "REMOTE_ACTS",
    "RESTORE",
    "TWO_WAY",
    "Act",
    "Policy",
    "Verdict",
]


class Act(StrEnum):
    """What can be done with one file."""

    # in the repository
    CREATE = "create"
    REPLACE = "replace"
    DELETE = "delete"
    OVERRULE = "overrule"  # set the remote version aside, then replace it
    RETIRE = "retire"  # set the remote version aside, then delete it
    # in Harmony's home
    FETCH = "fetch"  # create what is absent
    EXCHANGE = "exchange"  # replace; home's version is kept in the state directory
    WITHDRAW = "withdraw"  # remove; home's version is kept in the state directory
    CEDE = "cede"  # replace; home's version is kept in the conflict store
    RELEGATE = "relegate"  # remove; home's version is kept in the conflict store
    # in the base alone
    ADOPT = "adopt"
    FORGET = "forget"
    RECALL = "recall"  # what is there was sent by us: remember it, and decide again
    LOOK = "look"  # read the remote content and decide again
    # nowhere
    HOLD = "hold"


REMOTE_ACTS: Final = frozenset({Act.CREATE, Act.REPLACE, Act.DELETE, Act.OVERRULE, Act.RETIRE})
DELETING_ACTS: Final = frozenset({Act.DELETE, Act.RETIRE, Act.WITHDRAW, Act.RELEGATE})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy does about a decision; `reason` says why it holds, `alarm` that a person
    should look."""

    act: Act
    reason: str = ""
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """What one side does in one phase of its life."""

    name: str
    table: Mapping[Decision, Verdict]

    def verdict(self, decision: Decision) -> Verdict:
        """What to do about `decision`."""
        return self.table[decision]


def _hold(reason: str) -> Verdict:
    return Verdict(Act.HOLD, reason)


_SAME_EVERYWHERE: Final = {
    Decision.LOOK: Verdict(Act.LOOK),
    Decision.ADOPT: Verdict(Act.ADOPT),
    Decision.FORGET: Verdict(Act.FORGET),
}


def _policy(name: str, table: Mapping[Decision, Verdict]) -> Policy:
    return Policy(name, MappingProxyType({**_SAME_EVERYWHERE, **table}))


_PUSH: Final = {
    Decision.LOCAL_NEW: Verdict(Act.CREATE),
    Decision.LOCAL_CHANGED: Verdict(Act.REPLACE),
    Decision.LOCAL_OUTLIVES: Verdict(Act.CREATE),
}
# The first node of a system: home fills the repository; what lies there already wins.
FIRST_NODE: Final = _policy(
    "first-node",
    {
        **_PUSH,
        Decision.LOCAL_DELETED: Verdict(Act.FETCH),
        Decision.REMOTE_NEW: Verdict(Act.FETCH),
        Decision.REMOTE_CHANGED: Verdict(Act.EXCHANGE),
        Decision.REMOTE_DELETED: Verdict(Act.CREATE),
        Decision.REMOTE_OUTLIVES: Verdict(Act.FETCH),
        Decision.CONFLICT: Verdict(Act.EXCHANGE),
    },
)
# A further node whose Harmony never ran: home holds the image's stock, the repository is the truth.
JOINING: Final = _policy(
    "joining",
    {
        Decision.LOCAL_NEW: Verdict(Act.WITHDRAW),
        Decision.LOCAL_CHANGED: Verdict(Act.EXCHANGE),
        Decision.LOCAL_OUTLIVES: Verdict(Act.WITHDRAW),
        Decision.LOCAL_DELETED: Verdict(Act.FETCH),
        Decision.REMOTE_NEW: Verdict(Act.FETCH),
        Decision.REMOTE_CHANGED: Verdict(Act.EXCHANGE),
        Decision.REMOTE_DELETED: Verdict(Act.WITHDRAW),
        Decision.REMOTE_OUTLIVES: Verdict(Act.FETCH),
        Decision.CONFLICT: Verdict(Act.EXCHANGE),
    },
)
# The base is lost and Harmony ran in this home: nobody can tell an edit from a delete. The
# repository is the truth, and what home has besides is kept where a person finds it.
REJOINING: Final = _policy(
    "rejoining",
    {
        Decision.LOCAL_NEW: Verdict(Act.RELEGATE),
        Decision.LOCAL_CHANGED: Verdict(Act.REPLACE),
        Decision.LOCAL_OUTLIVES: Verdict(Act.CREATE),
        Decision.LOCAL_DELETED: Verdict(Act.FETCH),
        Decision.REMOTE_NEW: Verdict(Act.FETCH),
        Decision.REMOTE_CHANGED: Verdict(Act.EXCHANGE),
        Decision.REMOTE_DELETED: Verdict(Act.WITHDRAW),
        Decision.REMOTE_OUTLIVES: Verdict(Act.FETCH),
        Decision.CONFLICT: Verdict(Act.CEDE),
    },
)
# An installation that has run for itself brings its configuration into an empty repository.
# Nothing that is gone from a repository so young was deleted by anybody.
FOUNDING: Final = _policy(
    "founding",
    {
        **REJOINING.table,
        Decision.LOCAL_NEW: Verdict(Act.CREATE),
        Decision.REMOTE_DELETED: Verdict(Act.CREATE),
    },
)
# Beside a running Harmony changes travel both ways; what the repository accepted first wins.
TWO_WAY: Final = _policy(
    "two-way",
    {
        **_PUSH,
        Decision.LOCAL_DELETED: Verdict(Act.DELETE),
        Decision.REMOTE_NEW: Verdict(Act.FETCH),
        Decision.REMOTE_CHANGED: Verdict(Act.EXCHANGE),
        Decision.REMOTE_DELETED: Verdict(Act.WITHDRAW),
        Decision.REMOTE_OUTLIVES: Verdict(Act.FETCH),
        Decision.CONFLICT: Verdict(Act.CEDE),
    },
)
# This host's own folder has one writer: home is the truth, what it overrules is set aside.
MIRROR: Final = _policy(
    "mirror",
    {
        **_PUSH,
        Decision.LOCAL_DELETED: Verdict(Act.DELETE),
        Decision.REMOTE_NEW: _hold("put into this host's folder by somebody else; left alone"),
        Decision.REMOTE_CHANGED: Verdict(Act.OVERRULE),
        Decision.REMOTE_DELETED: Verdict(Act.CREATE),
        Decision.REMOTE_OUTLIVES: Verdict(Act.RETIRE),
        Decision.CONFLICT: Verdict(Act.OVERRULE),
    },
)
# Before Harmony ran in this home: what it left in an earlier one comes back, never over a file.
RESTORE: Final = _policy("restore", {**MIRROR.table, Decision.REMOTE_NEW: Verdict(Act.FETCH)})
# The base is lost, but this home was restored once: what it lacks was deleted here since.
RECLAIM: Final = _policy("reclaim", {**MIRROR.table, Decision.REMOTE_NEW: Verdict(Act.RETIRE)})
