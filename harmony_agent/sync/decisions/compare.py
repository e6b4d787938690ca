"""What three views of one file mean. Pure: content and tokens decide, clocks never do."""

from enum import StrEnum

from harmony_agent.sync.decisions.states import (
    BaseRow,
    LocalFile,
    LocalState,
    Obstacle,
    RemoteFile,
    RemoteState,
)

__all__ = ["Decision", "decide"]


class Decision(StrEnum):
    """What happened to a file since home and repository last agreed on it."""

    NOTHING = "nothing"  # both as they were
    HOLD = "hold"  # home's side can't be judged now
    LOOK = "look"  # the remote content has to be read before this can be decided
    ADOPT = "adopt"  # both sides hold the same content: remember it
    FORGET = "forget"  # gone on both sides
    LOCAL_NEW = "local-new"
    LOCAL_CHANGED = "local-changed"
    LOCAL_DELETED = "local-deleted"
    LOCAL_OUTLIVES = "local-outlives"  # changed here, deleted there: the edit beats the delete
    REMOTE_NEW = "remote-new"
    REMOTE_CHANGED = "remote-changed"
    REMOTE_DELETED = "remote-deleted"
    REMOTE_OUTLIVES = "remote-outlives"  # deleted here, changed there: the edit beats the delete
    CONFLICT = "conflict"  # both sides hold content the other has never seen


def decide(local: LocalState, base: BaseRow | None, remote: RemoteState) -> Decision:
    """The decision for one file.

    LOOK is answered only where reading the remote content can change the decision; once
    `remote.sha256` is known it is never answered.
    """
    if isinstance(local, Obstacle):
        return Decision.HOLD
    if base is None:
        return _without_base(local, remote)
    if local is None:
        return _deleted_here(base, remote)
    if local.sha256 == base.sha256:
        return _unchanged_here(base, remote)
    return _changed_here(local, base, remote)


def _without_base(local: LocalFile | None, remote: RemoteState) -> Decision:
    if local is None:
        return Decision.NOTHING if remote is None else Decision.REMOTE_NEW
    if remote is None:
        return Decision.LOCAL_NEW
    return _by_content(remote, local, same=Decision.ADOPT, other=Decision.CONFLICT)


def _deleted_here(base: BaseRow, remote: RemoteState) -> Decision:
    if remote is None:
        return Decision.FORGET
    if remote.token == base.token:
        return Decision.LOCAL_DELETED
    return _by_content(remote, base, same=Decision.LOCAL_DELETED, other=Decision.REMOTE_OUTLIVES)


def _unchanged_here(base: BaseRow, remote: RemoteState) -> Decision:
    if remote is None:
        return Decision.REMOTE_DELETED
    if remote.token == base.token:
        return Decision.NOTHING
    # A new token over the same content: somebody wrote what was there already.
    return _by_content(remote, base, same=Decision.ADOPT, other=Decision.REMOTE_CHANGED)


def _changed_here(local: LocalFile, base: BaseRow, remote: RemoteState) -> Decision:
    if remote is None:
        return Decision.LOCAL_OUTLIVES
    if remote.token == base.token:
        return Decision.LOCAL_CHANGED
    if remote.sha256 is None:
        if remote.size not in (local.size, base.size):
            return Decision.CONFLICT
        return Decision.LOOK
    if remote.sha256 == local.sha256:
        return Decision.ADOPT
    return Decision.LOCAL_CHANGED if remote.sha256 == base.sha256 else Decision.CONFLICT


def _by_content(
    remote: RemoteFile, known: LocalFile | BaseRow, *, same: Decision, other: Decision
) -> Decision:
    """`same` or `other` by comparing contents; sizes that differ spare the reading."""
    if remote.sha256 is None:
        return Decision.LOOK if remote.size == known.size else other
    return same if remote.sha256 == known.sha256 else other
