"""What is done with one file by itself: looked at again at the last moment, base row last."""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from harmony_agent.core.threads import Workers
from harmony_agent.repositories.interface import Repository, Token
from harmony_agent.sync.applying.course import Course
from harmony_agent.sync.applying.outcome import Doubt
from harmony_agent.sync.applying.transfers import Transfers
from harmony_agent.sync.base import Base
from harmony_agent.sync.conflicts.store import ConflictStore
from harmony_agent.sync.decisions.plan import Action
from harmony_agent.sync.decisions.policies import Act
from harmony_agent.sync.decisions.states import BaseRow, LocalFile, RemoteFile
from harmony_agent.sync.home.files import HomeFiles

__all__ = ["FileActs"]

R = TypeVar("R")

log = logging.getLogger(__name__)

_LIMIT: Final = 120.0  # seconds for a look at one local file
# What they do first, or all they do, concerns this machine alone.
_ENTERING_LATER: Final = frozenset({Act.CREATE, Act.REPLACE, Act.ADOPT, Act.RECALL})


class FileActs:
    """Carries out single actions of all kinds."""

    def __init__(
        self,
        *,
        repository: Repository,
        base: Base,
        files: HomeFiles,
        conflicts: ConflictStore | None,
        transfers: Transfers,
        workers: Workers,
    ) -> None:
        """`conflicts` is for policies that cede or relegate."""
        self._repository = repository
        self._base = base
        self._files = files
        self._conflicts = conflicts
        self._transfers = transfers
        self._workers = workers
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

    async def carry_out(self, action: Action, course: Course) -> Doubt | None:
        """Do it, and note it in the base; a doubt if the file is not what the plan was made for.

        Raises the errors of Repository, HomeFiles and Base, and GivenUpError.
        """
        if action.act not in _ENTERING_LATER:
            await course.enter()
        return await self._acts[action.act](action, course)

    # In the repository.

    async def _create(self, action: Action, course: Course) -> None:
        await self._send(action, None, course)

    async def _replace(self, action: Action, course: Course) -> None:
        await self._send(action, action.remote.token, course)

    async def _send(self, action: Action, token: Token | None, course: Course) -> None:
        new = await self._transfers.send(action.path, action.local, token, course.enter)
        course.sent += action.local.size
        course.leave()
        await self._in_step(action.path, action.local, new)

    async def _delete(self, action: Action, _course: Course) -> Doubt | None:
        if not await self._in_thread(self._files.is_absent, action.path):
            return Doubt(home=True)
        await self._repository.delete(action.path, action.remote.token)
        await self._base.remove(action.path)
        return None

    async def _overrule(self, action: Action, course: Course) -> None:
        await self._send(action, await self._set_remote_aside(action, course), course)

    async def _retire(self, action: Action, course: Course) -> Doubt | None:
        if not await self._in_thread(self._files.is_absent, action.path):
            return Doubt(home=True)
        present = await self._set_remote_aside(action, course)
        await self._repository.delete(action.path, present)
        await self._base.remove(action.path)
        return None

    async def _set_remote_aside(self, action: Action, course: Course) -> Token:
        aside, token = await self._transfers.set_aside(action.path, action.remote)
        course.received += action.remote.size
        course.sent += action.remote.size
        log.warning(
            "the repository's version is set aside, this node's own wins",
            extra={"file": action.path, "kept": aside},
        )
        return token

    # In Harmony's home.

    async def _fetch(self, action: Action, course: Course) -> None:
        local, token = await self._transfers.fetch(action.path, action.remote, course.leave)
        course.received += local.size
        await self._in_step(action.path, local, token)

    async def _exchange(self, action: Action, course: Course) -> None:
        await self._replace_home(action, course, keep=action.is_news)

    async def _cede(self, action: Action, course: Course) -> None:
        await self._keep_in_conflict(action, course)
        await self._replace_home(action, course, keep=False)

    async def _replace_home(self, action: Action, course: Course, *, keep: bool) -> None:
        local, token = await self._transfers.exchange(
            action.path, action.remote, action.local, keep=keep
        )
        course.received += local.size
        await self._in_step(action.path, local, token)

    async def _withdraw(self, action: Action, _course: Course) -> Doubt | None:
        if (doubt := await self._still_there(action.path)) is not None:
            return doubt
        await self._transfers.withdraw(action.path, action.local, keep=True)
        await self._base.remove(action.path)
        return None

    async def _relegate(self, action: Action, course: Course) -> Doubt | None:
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

    async def _keep_in_conflict(self, action: Action, course: Course) -> None:
        assert self._conflicts is not None, "this policy keeps no conflicts"
        await self._transfers.keep_in_conflict(self._conflicts, action.path, action.local)
        course.sent += action.local.size

    # In the base alone.

    async def _adopt(self, action: Action, _course: Course) -> None:
        await self._in_step(action.path, action.local, action.remote.token)

    async def _forget(self, action: Action, _course: Course) -> Doubt | None:
        # A file that a listing only hid would come back, and home's delete would be undone.
        if (doubt := await self._still_there(action.path)) is not None:
            return doubt
        await self._base.remove(action.path)
        return None

    async def _recall(self, action: Action, _course: Course) -> Doubt:
        remote = action.remote
        assert remote.sha256 is not None
        # No stat of home matches this row: home is looked at again and compared by content.
        await self._base.put(action.path, BaseRow(remote.sha256, remote.size, 0, 0, remote.token))
        return Doubt(home=True, remote=remote, remote_known=True)

    async def _look(self, action: Action, course: Course) -> Doubt:
        remote = await self._transfers.look(action.path, action.remote)
        course.received += remote.size
        return Doubt(remote=remote, remote_known=True)

    async def _in_step(self, path: str, local: LocalFile, token: Token) -> None:
        await self._base.put(path, BaseRow.of(local, token))

    async def _in_thread(self, call: Callable[..., R], *arguments: object) -> R:
        return await self._workers.run(_LIMIT, call, *arguments)
