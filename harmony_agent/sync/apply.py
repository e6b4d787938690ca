"""Carries out actions: many at once, each checked again at the last moment, base row last.

An action ends in step, or in doubt (the file is no longer what the plan was made for: look again),
or it fails with an error of its own, which stops no other.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Unavailable,
    Unsupported,
)
from harmony_agent.core.threads import Workers
from harmony_agent.repositories.interface import Repository, Token
from harmony_agent.sync.base import Base
from harmony_agent.sync.budget import Budget
from harmony_agent.sync.conflicts import ConflictStore
from harmony_agent.sync.convoys import convoys
from harmony_agent.sync.files import HomeFiles
from harmony_agent.sync.plan import Action
from harmony_agent.sync.policies import REMOTE_ACTS, Act
from harmony_agent.sync.progress import Progress
from harmony_agent.sync.states import BaseRow, LocalFile, RemoteFile, RemoteState
from harmony_agent.sync.transfers import Transfers, memory
from harmony_agent.sync.turns import GivenUpError, Turn, Turns

__all__ = ["Applier", "Doubt", "Outcome"]

log = logging.getLogger(__name__)

_BYTES_IN_FLIGHT: Final = 64 * 1024 * 1024
# Many more than the repository works on at once: those that have arrived wait together for the
# disk meanwhile, and those that are sent next are read.
_IN_FLIGHT: Final = 256
# While one waits for the disk another is written, also where each step takes a while.
_CONVOYS: Final = 4
_LIMIT: Final = 120.0  # seconds for reading or writing one local file

_SENDING: Final = frozenset({Act.CREATE, Act.REPLACE, Act.OVERRULE})
# Small files of these share waits and threads with others.
_CROWDED: Final = frozenset({Act.CREATE, Act.FETCH, Act.LOOK})
# What they do first, or all they do, concerns this machine alone.
_ENTERING_LATER: Final = frozenset({Act.CREATE, Act.REPLACE, Act.ADOPT, Act.RECALL})

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Doubt:
    """A file that is not what the plan was made for. `home`: look at it again there; `remote`:
    what the repository holds now, if `remote_known`."""

    home: bool = False
    remote: RemoteState = None
    remote_known: bool = False


# What a convoy comes to for one file: what home and repository agree on now, or why they don't.
_Found = tuple[LocalFile, Token] | Doubt | AgentError


@dataclass(slots=True)
class Outcome:
    """What became of the actions, by path; bytes moved to (`sent`) and from (`received`) the
    repository. With `gave_up` so many failed that the rest was not tried."""

    in_step: dict[str, Act] = field(default_factory=dict)
    doubts: dict[str, Doubt] = field(default_factory=dict)
    failures: dict[str, AgentError] = field(default_factory=dict)
    sent: int = 0
    received: int = 0
    gave_up: bool = False


class _Course:
    """How one action goes: the bytes it moved to and from the repository, and its turn there."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.sent = 0
        self.received = 0


class Applier:
    """Carries out the actions of one side."""

    def __init__(
        self,
        *,
        repository: Repository,
        base: Base,
        files: HomeFiles,
        conflicts: ConflictStore | None,
        transfers: Transfers,
        workers: Workers,
        may_write: Callable[[], bool],
        progress: Progress,
    ) -> None:
        """`conflicts` is for policies that cede or relegate; `may_write` says whether the
        repository may be written now; `progress` is told of each action, whatever became of
        it."""
        self._repository = repository
        self._base = base
        self._files = files
        self._conflicts = conflicts
        self._workers = workers
        self._may_write = may_write
        self._progress = progress
        self._budget = Budget(_BYTES_IN_FLIGHT)
        self._transfers = transfers
        self._acts = {
            Act.CREATE: self._create,
            Act.REPLACE: self._replace,
            Act.DELETE: self._delete,
            Act.OVERRULE: self._overrule,
            Act.RETIRE: self._retire,
            Act.FETCH: self._fetch,
            Act.EXCHANGE: self._exchange,
            Act.WITHDRAW: self._withdraw,
            Act.CEDE: self._cede,
            Act.RELEGATE: self._relegate,
            Act.ADOPT: self._adopt,
            Act.FORGET: self._forget,
            Act.RECALL: self._recall,
            Act.LOOK: self._look,
        }
        self._convoy_acts = {
            Act.CREATE: self._create_all,
            Act.FETCH: self._fetch_all,
            Act.LOOK: self._look_all,
        }

    async def carry_out(self, actions: Collection[Action]) -> Outcome:
        """Carry out actions that do not depend on each other.

        Raises Unavailable if the base can't be written.
        """
        # Remembered first: should we be killed before the answers come, the next process must know
        # its own versions.
        await self._base.intend({a.path: a.local.sha256 for a in actions if a.act in _SENDING})
        outcome = Outcome()
        turns = Turns(self._repository.at_once)
        in_flight = asyncio.Semaphore(_IN_FLIGHT)
        convoys_in_flight = asyncio.Semaphore(_CONVOYS)

        async def work(convoy: Sequence[Action], places: asyncio.Semaphore) -> None:
            course = _Course(turns.turn(crowded=convoy[0].act in _CROWDED))
            try:
                async with self._budget.take(sum(memory(action.size) for action in convoy)):
                    if len(convoy) == 1:
                        await self._one(convoy[0], course, outcome)
                    else:
                        await self._together(convoy, course, outcome)
            except GivenUpError:
                outcome.gave_up = True
            else:
                for action in convoy:
                    error = outcome.failures.get(action.path)
                    turns.tell(failed=error is not None and not isinstance(error, Unsupported))
                self._progress.dealt_with(len(convoy))
            finally:
                course.turn.leave()
                places.release()

        async with asyncio.TaskGroup() as group:
            for convoy in convoys(actions, self._repository.together):
                places = in_flight if len(convoy) == 1 else convoys_in_flight
                await places.acquire()
                if turns.are_hopeless:
                    outcome.gave_up = True
                    break
                group.create_task(work(convoy, places), name="sync transfer")
        return outcome

    async def _one(self, action: Action, course: _Course, outcome: Outcome) -> None:
        try:
            if action.act not in _ENTERING_LATER:
                await self._enter(action, course)
            doubt = await self._acts[action.act](action, course)
        except AgentError as error:
            await self._learn(action, error, outcome)
        else:
            if doubt is None:
                outcome.in_step[action.path] = action.act
            else:
                outcome.doubts[action.path] = doubt
        outcome.sent += course.sent
        outcome.received += course.received

    async def _together(self, convoy: Sequence[Action], course: _Course, outcome: Outcome) -> None:
        """`_one` for small files that all go the same way."""
        try:
            found = await self._convoy_acts[convoy[0].act](convoy, course)
            agreed = zip(convoy, found, strict=True)
            rows = {a.path: _row(*each) for a, each in agreed if isinstance(each, tuple)}
            if rows:
                await self._base.put_all(rows)
        except AgentError as error:
            found = [error] * len(convoy)
        failed = []
        for action, each in zip(convoy, found, strict=True):
            if isinstance(each, AgentError):
                failed.append(self._learn(action, each, outcome))
            elif isinstance(each, Doubt):
                outcome.doubts[action.path] = each
            else:
                outcome.in_step[action.path] = action.act
        await asyncio.gather(*failed)
        outcome.sent += course.sent
        outcome.received += course.received

    async def _learn(self, action: Action, error: AgentError, outcome: Outcome) -> None:
        """Note what an error means for the file."""
        if isinstance(error, OutcomeUnknown):
            # Whether a write took effect only the repository can tell.
            log.info("outcome unknown, looking again", extra={"file": action.path})
        if isinstance(error, OutcomeUnknown | PreconditionFailed | Absent):
            await self._refresh(action, outcome, error)
        else:
            outcome.failures[action.path] = error

    async def _enter(self, action: Action, course: _Course) -> None:
        """Wait until it is this action's turn in the repository."""
        await course.turn.enter()
        if action.act in REMOTE_ACTS and not self._may_write():
            raise Unavailable("this host's folder belongs to another owner at the moment")

    async def _refresh(self, action: Action, outcome: Outcome, error: AgentError) -> None:
        """Somebody was faster, here or there: both sides are looked at again."""
        try:
            entry = await self._repository.stat(action.path)
        except AgentError as second:
            outcome.failures[action.path] = second
            return
        remote = None if entry is None else RemoteFile(entry.token, entry.size)
        if isinstance(error, OutcomeUnknown) and remote == _without_content(action.case.remote):
            # Nothing has happened there: a failure like any other, tried again later.
            outcome.failures[action.path] = error
            return
        outcome.doubts[action.path] = Doubt(home=True, remote=remote, remote_known=True)

    # In the repository.

    async def _create(self, action: Action, course: _Course) -> None:
        await self._send(action, None, course)

    async def _replace(self, action: Action, course: _Course) -> None:
        await self._send(action, action.remote.token, course)

    async def _send(self, action: Action, token: Token | None, course: _Course) -> None:
        new = await self._transfers.send(
            action.path, action.local, token, lambda: self._enter(action, course)
        )
        course.sent += action.local.size
        course.turn.leave()
        await self._in_step(action.path, action.local, new)

    async def _create_all(self, convoy: Sequence[Action], course: _Course) -> Sequence[_Found]:
        tokens = await self._transfers.send_all(
            [(action.path, action.local) for action in convoy],
            lambda: self._enter(convoy[0], course),
        )
        course.turn.leave()
        found: list[_Found] = []
        for action, token in zip(convoy, tokens, strict=True):
            if isinstance(token, AgentError):
                found.append(token)
            else:
                course.sent += action.local.size
                found.append((action.local, token))
        return found

    async def _delete(self, action: Action, _course: _Course) -> Doubt | None:
        if not await self._in_thread(self._files.is_absent, action.path):
            return Doubt(home=True)
        await self._repository.delete(action.path, action.remote.token)
        await self._base.remove(action.path)
        return None

    async def _overrule(self, action: Action, course: _Course) -> None:
        await self._send(action, await self._set_remote_aside(action, course), course)

    async def _retire(self, action: Action, course: _Course) -> Doubt | None:
        if not await self._in_thread(self._files.is_absent, action.path):
            return Doubt(home=True)
        present = await self._set_remote_aside(action, course)
        await self._repository.delete(action.path, present)
        await self._base.remove(action.path)
        return None

    async def _set_remote_aside(self, action: Action, course: _Course) -> Token:
        aside, token = await self._transfers.set_aside(action.path, action.remote)
        course.received += action.remote.size
        course.sent += action.remote.size
        log.warning(
            "the repository's version is set aside, this node's own wins",
            extra={"file": action.path, "kept": aside},
        )
        return token

    # In Harmony's home.

    async def _fetch(self, action: Action, course: _Course) -> None:
        local, token = await self._transfers.fetch(action.path, action.remote, course.turn.leave)
        course.received += local.size
        await self._in_step(action.path, local, token)

    async def _fetch_all(self, convoy: Sequence[Action], course: _Course) -> Sequence[_Found]:
        await self._enter(convoy[0], course)
        paths = [action.path for action in convoy]
        found = await self._transfers.fetch_all(paths, course.turn.leave)
        course.received += sum(each[0].size for each in found if isinstance(each, tuple))
        return found

    async def _exchange(self, action: Action, course: _Course) -> None:
        # What the repository held before is known to all; only what is new is worth keeping.
        known = action.case.base is not None and action.case.base.sha256 == action.local.sha256
        await self._replace_home(action, course, keep=not known)

    async def _cede(self, action: Action, course: _Course) -> None:
        await self._keep_in_conflict(action, course)
        await self._replace_home(action, course, keep=False)

    async def _replace_home(self, action: Action, course: _Course, *, keep: bool) -> None:
        local, token = await self._transfers.exchange(
            action.path, action.remote, action.local, keep=keep
        )
        course.received += local.size
        await self._in_step(action.path, local, token)

    async def _withdraw(self, action: Action, _course: _Course) -> Doubt | None:
        if (doubt := await self._still_there(action.path)) is not None:
            return doubt
        await self._transfers.withdraw(action.path, action.local, keep=True)
        await self._base.remove(action.path)
        return None

    async def _relegate(self, action: Action, course: _Course) -> Doubt | None:
        if (doubt := await self._still_there(action.path)) is not None:
            return doubt
        await self._keep_in_conflict(action, course)
        await self._transfers.withdraw(action.path, action.local, keep=False)
        await self._base.remove(action.path)
        return None

    async def _still_there(self, path: str) -> Doubt | None:
        """A doubt if the repository holds `path` after all: no listing alone ends a file."""
        entry = await self._repository.stat(path)
        if entry is None:
            return None
        return Doubt(remote=RemoteFile(entry.token, entry.size), remote_known=True)

    async def _keep_in_conflict(self, action: Action, course: _Course) -> None:
        assert self._conflicts is not None, "this policy keeps no conflicts"
        await self._transfers.keep_in_conflict(self._conflicts, action.path, action.local)
        course.sent += action.local.size

    # In the base alone.

    async def _adopt(self, action: Action, _course: _Course) -> None:
        await self._in_step(action.path, action.local, action.remote.token)

    async def _forget(self, action: Action, _course: _Course) -> Doubt | None:
        # A file that a listing only hid would come back, and home's delete would be undone.
        if (doubt := await self._still_there(action.path)) is not None:
            return doubt
        await self._base.remove(action.path)
        return None

    async def _recall(self, action: Action, _course: _Course) -> Doubt:
        remote = action.remote
        assert remote.sha256 is not None
        # No stat of home matches this row: home is looked at again and compared by content.
        await self._base.put(action.path, BaseRow(remote.sha256, remote.size, 0, 0, remote.token))
        return Doubt(home=True, remote=remote, remote_known=True)

    async def _look(self, action: Action, course: _Course) -> Doubt:
        remote = await self._transfers.look(action.path, action.remote)
        course.received += remote.size
        return Doubt(remote=remote, remote_known=True)

    async def _look_all(self, convoy: Sequence[Action], course: _Course) -> Sequence[_Found]:
        await self._enter(convoy[0], course)
        found: list[_Found] = []
        for remote in await self._transfers.look_all([action.path for action in convoy]):
            if isinstance(remote, AgentError):
                found.append(remote)
            else:
                course.received += remote.size
                found.append(Doubt(remote=remote, remote_known=True))
        return found

    async def _in_step(self, path: str, local: LocalFile, token: Token) -> None:
        await self._base.put(path, _row(local, token))

    async def _in_thread(self, call: Callable[..., R], *arguments: object) -> R:
        return await self._workers.run(_LIMIT, call, *arguments)


def _row(local: LocalFile, token: Token) -> BaseRow:
    return BaseRow(local.sha256, local.size, local.mtime_ns, local.inode, token)


def _without_content(remote: RemoteState) -> RemoteState:
    return None if remote is None else RemoteFile(remote.token, remote.size)
