"""Carries out actions, many at once: each file by itself, or small ones in convoys.

An action ends in step, or in doubt (the file is no longer what the plan was made for: look again),
or it fails with an error of its own, which stops no other.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Final

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
)
from harmony_agent.core.threads import Workers
from harmony_agent.repositories.interface import Repository
from harmony_agent.sync.applying.budget import Budget
from harmony_agent.sync.applying.convoy_acts import ConvoyActs
from harmony_agent.sync.applying.convoys import convoys
from harmony_agent.sync.applying.course import Course
from harmony_agent.sync.applying.file_acts import FileActs
from harmony_agent.sync.applying.outcome import Doubt, Found, Outcome
from harmony_agent.sync.applying.transfers import Transfers, memory
from harmony_agent.sync.applying.turns import GivenUpError, Turns
from harmony_agent.sync.base import Base
from harmony_agent.sync.conflicts.store import ConflictStore
from harmony_agent.sync.decisions.plan import Action
from harmony_agent.sync.decisions.policies import Act
from harmony_agent.sync.decisions.states import RemoteFile, RemoteState
from harmony_agent.sync.home.files import HomeFiles
from harmony_agent.sync.progress import Progress

__all__ = ["Applier"]

log = logging.getLogger(__name__)

_BYTES_IN_FLIGHT: Final = 64 * 1024 * 1024
# More than the repository works on at once: those that have arrived wait for the disk meanwhile,
# and those that are sent next are read.
_IN_FLIGHT: Final = 64
# While one waits for the disk another is written.
_CONVOYS: Final = 2

_SENDING: Final = frozenset({Act.CREATE, Act.REPLACE, Act.OVERRULE})


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
        self._may_write = may_write
        self._progress = progress
        self._budget = Budget(_BYTES_IN_FLIGHT)
        self._alone = FileActs(
            repository=repository,
            base=base,
            files=files,
            conflicts=conflicts,
            transfers=transfers,
            workers=workers,
        )
        self._together = ConvoyActs(repository=repository, base=base, transfers=transfers)

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
            try:
                await self._work(convoy, turns, outcome)
            finally:
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

    async def _work(self, convoy: Sequence[Action], turns: Turns, outcome: Outcome) -> None:
        course = Course(convoy[0].act, turns, self._may_write)
        async with self._budget.take(sum(memory(action.size) for action in convoy)):
            try:
                found = await self._carry_out(convoy, course)
            finally:
                course.leave()
            await self._note(convoy, found, outcome, turns)
        outcome.sent += course.sent
        outcome.received += course.received
        self._progress.dealt_with(len(convoy))

    async def _carry_out(self, convoy: Sequence[Action], course: Course) -> Sequence[Found]:
        found: Sequence[Found]
        try:
            if len(convoy) == 1:
                found = [await self._alone.carry_out(convoy[0], course)]
            else:
                found = await self._together.carry_out(convoy, course)
        except AgentError as error:
            found = [error] * len(convoy)
        for each in found:
            if not course.has_told(each):
                course.tell(each)
        return found

    async def _note(
        self, convoy: Sequence[Action], found: Sequence[Found], outcome: Outcome, turns: Turns
    ) -> None:
        failed = []
        for action, each in zip(convoy, found, strict=True):
            if each is None:
                outcome.in_step[action.path] = action.act
            elif isinstance(each, Doubt):
                outcome.doubts[action.path] = each
            elif isinstance(each, GivenUpError):
                outcome.gave_up = True
            else:
                failed.append(self._learn(action, each, outcome, turns))
        if failed:
            await asyncio.gather(*failed)

    async def _learn(
        self, action: Action, error: AgentError, outcome: Outcome, turns: Turns
    ) -> None:
        """Note what an error means for the file."""
        if isinstance(error, OutcomeUnknown):
            # Whether a write took effect only the repository can tell.
            log.info("outcome unknown, looking again", extra={"file": action.path})
        if isinstance(error, OutcomeUnknown | PreconditionFailed | Absent):
            await self._refresh(action, outcome, error, turns)
        else:
            outcome.failures[action.path] = error

    async def _refresh(
        self, action: Action, outcome: Outcome, error: AgentError, turns: Turns
    ) -> None:
        """Somebody was faster, here or there: both sides are looked at again."""
        try:
            async with turns.places:
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


def _without_content(remote: RemoteState) -> RemoteState:
    return None if remote is None else RemoteFile(remote.token, remote.size)
