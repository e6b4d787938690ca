"""What both sides have in common: a home is taken on, and then kept in step."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from harmony_agent.sync.decisions.policies import Policy
from harmony_agent.sync.housekeeping import Chore, Sightings, keep_house, purge_folder
from harmony_agent.sync.side import Places, Side

__all__ = ["SyncJob"]

# Some hours: what is purged has to be seen twice, and few pods live for days.
_PURGE_EVERY: Final = 6 * 3600.0
_PURGE_LIMIT: Final = 600.0


class SyncJob(ABC):
    """One side, and the policy that holds once its home is taken on."""

    def __init__(self, side: Side, policy: Policy, places: Places) -> None:
        self._side = side
        self._policy = policy
        self._places = places
        self._sightings = Sightings()

    @abstractmethod
    async def _take_on(self) -> None:
        """Bring a home that is new to this agent in step; nothing is done to a known one.

        Raises an AgentError if that can't be completed now.
        """

    def _chores(self) -> Sequence[Chore]:
        """What is done a few times a day."""
        return (self._purge_kept,)

    async def take_on(self) -> None:
        """Bring a home that is new to this agent in step, before Harmony starts; returns at once
        for one that is known. Tries for ever."""
        await self._side.retry_for_ever(self._take_on_alone)

    async def run(self) -> None:
        """Keep home and repository in step, for ever."""
        await self.take_on()
        self._side.status.enter("running")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._side.keeper.run(self._policy))
            group.create_task(keep_house(self._chores(), _PURGE_EVERY))

    async def flush(self, limit: float) -> int:
        """Push what is left, for at most `limit` seconds; how many files could not be pushed.

        For the end, when Harmony is gone: files are taken as they are.
        """
        return await self._side.flush(self._policy, limit)

    async def once(self, *, dry_run: bool = False, accept_deletes: bool = False) -> dict[str, Any]:
        """One full pass now, for `sync --once`: what was (or would be) done, by file.

        Raises Unavailable or Refused if home or repository can't be read now, or if the first
        pull is not done.
        """
        return await self._side.once(self._policy, dry_run=dry_run, accept_deletes=accept_deletes)

    async def close(self) -> None:
        """Give back threads, watches and the database."""
        await self._side.close()

    async def _take_on_alone(self) -> None:
        async with self._side.keeper.paused():  # the repository is not exchanged meanwhile
            await self._take_on()

    async def _purge_kept(self) -> None:
        await self._side.in_thread(_PURGE_LIMIT, purge_folder, self._places.kept, self._sightings)
