"""Carries out actions: many at once, each checked again at the last moment, base row last.

An action ends in step, or in doubt (the file is no longer what the plan was made for: look again),
or it fails with an error of its own, which stops no other.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Unavailable,
)
from harmony_agent.core.threads import Workers
from harmony_agent.repositories.interface import Content, Repository, Token
from harmony_agent.repositories.layout import CONTROL
from harmony_agent.sync.base import Base
from harmony_agent.sync.budget import Budget
from harmony_agent.sync.files import HomeFiles
from harmony_agent.sync.plan import Action
from harmony_agent.sync.policies import REMOTE_ACTS, Act
from harmony_agent.sync.states import BaseRow, LocalFile, RemoteFile, RemoteState, digest

__all__ = ["Applier", "Doubt", "Outcome"]

log = logging.getLogger(__name__)

_CONCURRENCY: Final = 16
_BYTES_IN_FLIGHT: Final = 64 * 1024 * 1024
_LIMIT: Final = 120.0  # seconds for reading or writing one local file
# So many failures without a success in between mean the repository, not the files.
_HOPELESS: Final = _CONCURRENCY

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Doubt:
    """A file that is not what the plan was made for. `home`: look at it again there; `remote`:
    what the repository holds now, if `remote_known`."""

    home: bool = False
    remote: RemoteState = None
    remote_known: bool = False


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


class Applier:
    """Carries out the actions of one side."""

    def __init__(
        self,
        *,
        repository: Repository,
        base: Base,
        files: HomeFiles,
        workers: Workers,
        may_write: Callable[[], bool],
        on_progress: Callable[[], None],
    ) -> None:
        """`may_write` says whether the repository may be written now; `on_progress` is called
        after each action, whatever became of it."""
        self._repository = repository
        self._base = base
        self._files = files
        self._workers = workers
        self._may_write = may_write
        self._on_progress = on_progress
        self._budget = Budget(_BYTES_IN_FLIGHT)
        self._acts = {
            Act.CREATE: self._create,
            Act.REPLACE: self._replace,
            Act.DELETE: self._delete,
            Act.OVERRULE: self._overrule,
            Act.RETIRE: self._retire,
            Act.FETCH: self._fetch,
            Act.EXCHANGE: self._exchange,
            Act.WITHDRAW: self._withdraw,
            Act.ADOPT: self._adopt,
            Act.FORGET: self._forget,
            Act.LOOK: self._look,
        }

    async def carry_out(self, actions: Iterable[Action]) -> Outcome:
        """Carry out actions that do not depend on each other."""
        outcome = Outcome()
        waiting = iter(actions)
        failures_in_a_row = 0

        async def work() -> None:
            nonlocal failures_in_a_row
            for action in waiting:
                if failures_in_a_row >= _HOPELESS:
                    outcome.gave_up = True
                    return
                async with self._budget.take(action.size):
                    await self._one(action, outcome)
                failed = action.path in outcome.failures
                failures_in_a_row = failures_in_a_row + 1 if failed else 0
                self._on_progress()

        async with asyncio.TaskGroup() as group:
            for _ in range(_CONCURRENCY):
                group.create_task(work(), name="sync transfer")
        return outcome

    async def _one(self, action: Action, outcome: Outcome) -> None:
        try:
            if action.act in REMOTE_ACTS and not self._may_write():
                raise Unavailable("this host's folder belongs to another owner at the moment")
            doubt = await self._acts[action.act](action, outcome)
        except OutcomeUnknown as error:
            # Whether a write took effect only the repository can tell.
            log.info("outcome unknown, looking again", extra={"file": action.path})
            await self._refresh(action, outcome, error)
        except (PreconditionFailed, Absent) as error:
            await self._refresh(action, outcome, error)
        except AgentError as error:
            outcome.failures[action.path] = error
        else:
            if doubt is None:
                outcome.in_step[action.path] = action.act
            else:
                outcome.doubts[action.path] = doubt

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

    async def _create(self, action: Action, outcome: Outcome) -> None:
        data = await self._in_thread(self._files.read, action.path, action.local)
        token = await self._repository.create(action.path, data)
        outcome.sent += len(data)
        await self._in_step(action.path, action.local, token)

    async def _replace(self, action: Action, outcome: Outcome) -> None:
        data = await self._in_thread(self._files.read, action.path, action.local)
        token = await self._repository.replace(action.path, data, action.remote.token)
        outcome.sent += len(data)
        await self._in_step(action.path, action.local, token)

    async def _delete(self, action: Action, _outcome: Outcome) -> Doubt | None:
        if not await self._in_thread(self._files.is_absent, action.path):
            return Doubt(home=True)
        await self._repository.delete(action.path, action.remote.token)
        await self._base.remove(action.path)
        return None

    async def _overrule(self, action: Action, outcome: Outcome) -> None:
        present = await self._set_remote_aside(action, outcome)
        data = await self._in_thread(self._files.read, action.path, action.local)
        token = await self._repository.replace(action.path, data, present.token)
        outcome.sent += len(data)
        await self._in_step(action.path, action.local, token)

    async def _retire(self, action: Action, outcome: Outcome) -> Doubt | None:
        if not await self._in_thread(self._files.is_absent, action.path):
            return Doubt(home=True)
        present = await self._set_remote_aside(action, outcome)
        await self._repository.delete(action.path, present.token)
        await self._base.remove(action.path)
        return None

    async def _set_remote_aside(self, action: Action, outcome: Outcome) -> Content:
        content = await self._repository.read(action.path)
        outcome.received += len(content.data)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = f"{CONTROL}/set-aside/{action.path}/{stamp}-{digest(content.data)[:8]}"
        try:
            await self._repository.create(aside, content.data)
        except PreconditionFailed:
            pass  # the same content in the same second: it is kept already
        outcome.sent += len(content.data)
        log.warning(
            "the repository's version is set aside, this node's own wins",
            extra={"file": action.path, "kept": aside},
        )
        return content

    # In Harmony's home.

    async def _fetch(self, action: Action, outcome: Outcome) -> None:
        content = await self._repository.read(action.path)
        outcome.received += len(content.data)
        local = await self._in_thread(self._files.create, action.path, content.data)
        await self._in_step(action.path, local, content.token)

    async def _exchange(self, action: Action, outcome: Outcome) -> None:
        content = await self._repository.read(action.path)
        outcome.received += len(content.data)
        local = action.local
        if digest(content.data) != local.sha256:
            local = await self._in_thread(self._files.exchange, action.path, content.data, local)
        await self._in_step(action.path, local, content.token)

    async def _withdraw(self, action: Action, _outcome: Outcome) -> None:
        await self._in_thread(self._files.withdraw, action.path, action.local)
        await self._base.remove(action.path)

    # In the base alone.

    async def _adopt(self, action: Action, _outcome: Outcome) -> None:
        await self._in_step(action.path, action.local, action.remote.token)

    async def _forget(self, action: Action, _outcome: Outcome) -> None:
        await self._base.remove(action.path)

    async def _look(self, action: Action, outcome: Outcome) -> Doubt:
        content = await self._repository.read(action.path)
        outcome.received += len(content.data)
        remote = RemoteFile(content.token, len(content.data), digest(content.data))
        return Doubt(remote=remote, remote_known=True)

    async def _in_step(self, path: str, local: LocalFile, token: Token) -> None:
        row = BaseRow(local.sha256, local.size, local.mtime_ns, local.inode, token)
        await self._base.put(path, row)

    async def _in_thread(self, call: Callable[..., R], *arguments: object) -> R:
        return await self._workers.run(_LIMIT, call, *arguments)


def _without_content(remote: RemoteState) -> RemoteState:
    return None if remote is None else RemoteFile(remote.token, remote.size)
