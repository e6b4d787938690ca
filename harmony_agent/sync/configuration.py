"""Configuration sync: home's configuration files and the repository all nodes share.

This stage copies one way once Harmony runs: what changes here travels, what others change waits
for the next start of this node. Nothing local is ever overwritten beside a running Harmony.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from harmony_agent.core.errors import Refused
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import repository_id
from harmony_agent.settings.model import SyncSettings
from harmony_agent.sync import paths
from harmony_agent.sync.engine import Limits, Report
from harmony_agent.sync.keeper import Timing
from harmony_agent.sync.policies import (
    FIRST_NODE,
    FOUNDING,
    JOINING,
    ONE_WAY,
    REJOINING,
    Act,
    Policy,
)
from harmony_agent.sync.scan import CAREFUL, UNUSED_HOME
from harmony_agent.sync.side import REAL_TOOLS, Character, Places, Side, Tools

__all__ = ["ConfigurationSync"]

log = logging.getLogger(__name__)

_NAME: Final = "configuration"
_SETTLE: Final = 1.0  # seconds; Harmony writes a host file in several steps
_DELETE_AFTER: Final = 30.0  # seconds; some tools save by deleting first
_REPOSITORY: Final = "repository"  # the base remembers the repository's id under this word


class ConfigurationSync:
    """Keeps the configuration below `home` in step with the system's configuration repository."""

    def __init__(
        self,
        *,
        home: Path,
        state_dir: Path,
        repository: Repository,
        settings: SyncSettings,
        health: Health,
        harmony_runs: Callable[[], bool],
        tools: Tools = REAL_TOOLS,
    ) -> None:
        """`repository` is rooted at the system's folder. Raises Refused for a bad EXTRA pattern."""
        self._repository = repository
        self._harmony_runs = harmony_runs
        self._kept = Places(home, state_dir, repository).kept
        self._side = Side(
            Character(
                _NAME,
                paths.configuration(settings.config_extra),
                Limits(settings.max_delete, _DELETE_AFTER, may_empty=False),
                Timing(_SETTLE, settings.list_interval),
                holds_xml=True,
            ),
            Places(home, state_dir, repository),
            health,
            may_write=lambda: True,
            check=self._check_repository,
            tools=tools,
        )

    async def first_pull(self) -> None:
        """Bring a home that is new to this agent in step, before Harmony starts; returns at once
        for one that is known. Tries for ever."""
        await self._side.retry_for_ever(self._pull)

    async def run(self) -> None:
        """Keep home and repository in step, for ever."""
        await self.first_pull()
        self._side.status.enter("running")
        await self._side.keeper.run(ONE_WAY)

    async def flush(self, limit: float) -> int:
        """Push what is left, for at most `limit` seconds; how many files could not be pushed.

        For the end, when Harmony is gone: files are taken as they are.
        """
        return await self._side.flush(ONE_WAY, limit)

    async def once(self, *, dry_run: bool = False, accept_deletes: bool = False) -> dict[str, Any]:
        """One full pass now, for `sync --once`: what was (or would be) done, by file.

        Raises Unavailable or Refused if home or repository can't be read now, or if the first
        pull is not done.
        """
        return await self._side.once(ONE_WAY, dry_run=dry_run, accept_deletes=accept_deletes)

    async def close(self) -> None:
        """Give back threads, watches and the database."""
        await self._side.close()

    async def _pull(self) -> None:
        start = await self._side.begin()
        if start.known:
            return
        self._side.status.enter("first pull")
        identity = await repository_id(self._repository, create=False)
        used = start.used or self._harmony_runs()
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
        self._tell(report)

    async def _check_repository(self) -> None:
        """Raises Refused if the repository is not the one this home was pulled from."""
        expected = await self._side.base.meta(_REPOSITORY)
        present = await repository_id(self._repository, create=False)
        if present != expected:
            raise Refused(
                f"{self._repository.location} is not the repository this home was pulled from "
                f"(its id is {present or 'missing'}, not {expected}): nothing is synchronized; "
                "restore that repository, or start this node with a new home to accept this one"
            )

    def _tell(self, report: Report) -> None:
        acts = list(report.done.values())
        replaced = acts.count(Act.EXCHANGE) + acts.count(Act.WITHDRAW)
        if replaced:
            log.info(
                "configuration: the repository's files took the place of %d files of the image, "
                "which are kept in %s",
                replaced,
                self._kept,
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
