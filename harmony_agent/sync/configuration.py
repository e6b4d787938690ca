"""Configuration sync: home's configuration files and the repository all nodes share, both ways.

What the repository accepted first wins; a version that loses goes to the conflict store. Deletes
travel once they are certain, and never many at once unless a person agrees.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from harmony_agent.core.errors import Refused
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import repository_id
from harmony_agent.settings.model import SyncSettings
from harmony_agent.sync.conflicts.desk import ConflictDesk
from harmony_agent.sync.conflicts.store import ConflictStore
from harmony_agent.sync.decisions import paths
from harmony_agent.sync.decisions.policies import (
    FIRST_NODE,
    FOUNDING,
    JOINING,
    REJOINING,
    TWO_WAY,
    Act,
    Policy,
)
from harmony_agent.sync.engine import Limits, Report
from harmony_agent.sync.home.scan import CAREFUL, UNUSED_HOME
from harmony_agent.sync.housekeeping import Chore, keep_house
from harmony_agent.sync.job import SyncJob
from harmony_agent.sync.keeper import Timing
from harmony_agent.sync.markers.bulletin import Bulletin
from harmony_agent.sync.side import REAL_TOOLS, Character, Places, Side, Tools

__all__ = ["ConfigurationSync"]

log = logging.getLogger(__name__)

_NAME: Final = "configuration"
_SETTLE: Final = 0.3  # seconds; Harmony writes a host file in several steps
_DELETE_AFTER: Final = 5.0  # seconds; some tools save by deleting first
_REPOSITORY: Final = "repository"  # the base remembers the repository's id under this word


class ConfigurationSync(SyncJob):
    """Keeps the configuration below `home` in step with the system's configuration repository."""

    def __init__(
        self,
        *,
        home: Path,
        state_dir: Path,
        repository: Repository,
        host: str,
        settings: SyncSettings,
        health: Health,
        harmony_runs: Callable[[], bool],
        tools: Tools = REAL_TOOLS,
    ) -> None:
        """`repository` is rooted at the system's folder; `host` is this node's name. Raises
        Refused for a bad EXTRA pattern."""
        self._repository = repository
        self._harmony_runs = harmony_runs
        self._list_interval = settings.list_interval
        self._is_accepting = False  # another repository, and that was not completed yet
        self.conflicts = ConflictStore(repository, host, clock=tools.clock)
        health.sections["conflicts"] = self.conflicts.section
        self._bulletin = Bulletin(repository, host, settings.poll_interval, clock=tools.clock)
        places = Places(home, state_dir, repository)
        ownership = paths.configuration(settings.config_extra)
        side = Side(
            Character(
                _NAME,
                ownership,
                Limits(settings.max_delete, _DELETE_AFTER, may_empty=False),
                Timing(_SETTLE, settings.list_interval),
                holds_xml=True,
            ),
            places,
            health,
            may_write=lambda: True,
            check=self._check_repository,
            tools=tools,
            conflicts=self.conflicts,
            bulletin=self._bulletin,
        )
        self.desk = ConflictDesk(self.conflicts, repository, side, ownership)
        super().__init__(side, TWO_WAY, places)

    async def run(self) -> None:
        """Keep home and repository in step, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run())
            group.create_task(keep_house([self.conflicts.list], self._list_interval))

    async def once(self, *, dry_run: bool = False, accept_deletes: bool = False) -> dict[str, Any]:
        """As SyncJob.once. With `accept_deletes` also a repository that is not the one this home
        was pulled from is taken: filled from home if it is new, else as the truth."""
        if accept_deletes and not dry_run:
            async with self._side.keeper.paused():
                await self._accept_repository()
        return await super().once(dry_run=dry_run, accept_deletes=accept_deletes)

    async def knows(self, repository: Repository) -> bool:
        """Whether `repository` is the one this home was pulled from. Raises what reading raises."""
        if not self._side.is_pulled:
            return False
        present = await repository_id(repository, create=False)
        return present == await self._side.base.meta(_REPOSITORY)

    def paused(self) -> AbstractAsyncContextManager[None]:
        """Nothing is read or written while the block runs; the repository may be another after."""
        return self._side.keeper.paused()

    def _chores(self) -> Sequence[Chore]:
        return (*super()._chores(), self.conflicts.purge, self._bulletin.purge)

    async def _take_on(self) -> None:
        start = await self._side.begin()
        if start.known:
            return
        self._side.status.enter("first pull")
        identity = await repository_id(self._repository, create=False)
        used = start.used or self._harmony_runs()
        self._tell(await self._pull(identity, used=used))

    async def _pull(self, identity: str | None, *, used: bool) -> Report:
        """Take on a home without a base; `identity` is the repository's id, None for a new one."""
        policy = _first_policy(is_first_node=identity is None, used=used)
        log.info("configuration: taking on this home", extra={"policy": policy.name})
        report = await self._side.work_until_done(
            policy, CAREFUL if used else UNUSED_HOME, again=identity is None
        )
        if identity is None:
            identity = await repository_id(self._repository, create=True)
        else:
            await self._side.engine.keep_back(policy)
        await self._side.base.set_meta(_REPOSITORY, str(identity))
        await self._side.complete()
        return report

    async def _accept_repository(self) -> None:
        present = await repository_id(self._repository, create=False)
        is_known = present == await self._side.base.meta(_REPOSITORY)
        if self._is_accepting or (self._side.is_pulled and not is_known):
            log.warning(
                "configuration: another repository is accepted as it is",
                extra={"repository": self._repository.location, "id": present},
            )
            self._is_accepting = True
            await self._side.start_anew(used=True)
            self._tell(await self._pull(present, used=True))
            self._is_accepting = False

    async def _check_repository(self) -> None:
        """Raises Refused if the repository is not the one this home was pulled from."""
        if self._is_accepting:
            raise Refused(
                f"{self._repository.location} was accepted, but what it holds could not be taken "
                "on yet: repeat 'harmony-agent sync --once --accept-deletes'"
            )
        expected = await self._side.base.meta(_REPOSITORY)
        present = await repository_id(self._repository, create=False)
        if present != expected:
            raise Refused(
                f"{self._repository.location} is not the repository this home was pulled from "
                f"(its id is {present or 'missing'}, not {expected}): nothing is synchronized; "
                "restore that repository, or accept this one as it is by "
                "'harmony-agent sync --once --accept-deletes'"
            )

    def _tell(self, report: Report) -> None:
        acts = list(report.done.values())
        lost = acts.count(Act.CEDE) + acts.count(Act.RELEGATE)
        if lost:
            log.warning(
                "configuration: %d files of this home differed from the repository and are in the "
                "conflict store now; see 'harmony-agent conflicts'",
                lost,
            )
        replaced = acts.count(Act.EXCHANGE) + acts.count(Act.WITHDRAW)
        if replaced:
            log.info(
                "configuration: the repository's files took the place of %d files of the image, "
                "which are kept in %s",
                replaced,
                self._places.kept,
            )
        log.info(
            "configuration: first pull is done",
            extra={
                "fetched": acts.count(Act.FETCH) + acts.count(Act.EXCHANGE),
                "uploaded": acts.count(Act.CREATE) + acts.count(Act.REPLACE),
                "equal": acts.count(Act.ADOPT),
                "held": len(report.plan.held),
            },
        )


def _first_policy(*, is_first_node: bool, used: bool) -> Policy:
    """How a home without a base is taken on: whether the repository was ever filled, and whether
    Harmony may have run in this home."""
    if is_first_node:
        return FOUNDING if used else FIRST_NODE
    return REJOINING if used else JOINING
