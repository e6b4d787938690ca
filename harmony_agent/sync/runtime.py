"""Runtime mirror: this host's message IDs and receipts, in a repository folder of its own.

One writer: while the lease is ours, home is the truth and every change is pushed within a second
or two. A new home gets back what the last one left; nothing local is ever overwritten, and what
home overrules in the repository is set aside there.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings.model import SyncSettings
from harmony_agent.sync.decisions import paths
from harmony_agent.sync.decisions.policies import MIRROR, RECLAIM, RESTORE, Act
from harmony_agent.sync.engine import Limits
from harmony_agent.sync.home.scan import CAREFUL, UNUSED_HOME
from harmony_agent.sync.housekeeping import Chore, Sightings, purge_set_aside
from harmony_agent.sync.job import SyncJob
from harmony_agent.sync.keeper import Timing
from harmony_agent.sync.side import REAL_TOOLS, Character, Places, Side, Tools

__all__ = ["RuntimeMirror"]

log = logging.getLogger(__name__)

_NAME: Final = "runtime"
_SETTLE: Final = 0.5  # seconds; a message ID that is lost lets a duplicate through
# Seconds; short, since a pending message that comes back after it was sent is sent again.
_DELETE_AFTER: Final = 2.0


class RuntimeMirror(SyncJob):
    """Mirrors the runtime files below `home` to this host's folder of the runtime repository."""

    def __init__(
        self,
        *,
        home: Path,
        state_dir: Path,
        repository: Repository,
        settings: SyncSettings,
        health: Health,
        harmony_runs: Callable[[], bool],
        may_write: Callable[[], bool],
        tools: Tools = REAL_TOOLS,
    ) -> None:
        """`repository` is rooted at the host's folder; `may_write` says whether its lease is ours
        now. Raises Refused for a bad EXTRA pattern."""
        self._harmony_runs = harmony_runs
        self._may_write = may_write
        self._set_aside = Sightings()
        self._has_moved = False
        places = Places(home, state_dir, repository)
        shared = paths.configuration(settings.config_extra)
        side = Side(
            Character(
                _NAME,
                paths.runtime(settings.runtime_extra, shared=shared),
                Limits(settings.max_delete, _DELETE_AFTER, may_empty=True),
                Timing(_SETTLE, settings.list_interval),
                holds_xml=False,
            ),
            places,
            health,
            may_write=may_write,
            check=_nothing_to_check,
            tools=tools,
        )
        super().__init__(side, MIRROR, places)

    @contextlib.asynccontextmanager
    async def moving(self) -> AsyncIterator[None]:
        """The repository may lead to another place after the block, during which nothing is read
        or written; `reclaim` is due once that place is ours.

        Until somebody has looked there nothing of home counts as being there.
        """
        async with self._side.keeper.paused():
            if self._side.is_pulled:
                await self._side.engine.forget_repository()
                self._has_moved = True
            yield

    async def reclaim(self) -> None:
        """Bring the place that we have moved to in step: it gets everything, and what it holds
        from an earlier time, home has overruled or deleted since. Tries for ever."""
        if self._has_moved:  # a home that was not restored yet takes the place on as any other
            await self._side.retry_for_ever(self._reclaim)

    async def _reclaim(self) -> None:
        async with self._side.keeper.paused():
            await self._side.work_until_done(RECLAIM, CAREFUL, again=False)
            self._has_moved = False

    def _chores(self) -> Sequence[Chore]:
        return (*super()._chores(), self._purge_set_aside)

    async def _purge_set_aside(self) -> None:
        if self._may_write():
            await purge_set_aside(self._places.repository, self._set_aside)

    async def _take_on(self) -> None:
        start = await self._side.begin()
        if start.known:
            return
        self._side.status.enter("restoring")
        used = start.used or self._harmony_runs()
        # Once restored, a file this home lacks was deleted in it; before, it has yet to come back.
        policy = RECLAIM if start.used else RESTORE
        report = await self._side.work_until_done(
            policy, CAREFUL if used else UNUSED_HOME, again=False
        )
        await self._side.complete()
        acts = list(report.done.values())
        log.info(
            "runtime: restored",
            extra={
                "restored": acts.count(Act.FETCH),
                "pushed": acts.count(Act.CREATE),
                "equal": acts.count(Act.ADOPT),
                "overruled": acts.count(Act.OVERRULE) + acts.count(Act.RETIRE),
            },
        )


async def _nothing_to_check() -> None:
    """The lease guards this host's folder."""
