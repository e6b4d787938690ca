"""Who lives in the two repositories, and how they move when a rotated secret leads elsewhere.

No pass of the sync spans two places. In the runtime repository there is a lease besides: the new
place is not written before its lease is ours, and that of the old one is given back.
"""

import asyncio
import contextlib
import logging

from harmony_agent.agent.renewal import Exchange
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.lease import Lease
from harmony_agent.sync.configuration import ConfigurationSync
from harmony_agent.sync.runtime import RuntimeMirror

__all__ = ["ConfigurationTenant", "RuntimeTenant"]

log = logging.getLogger(__name__)


class ConfigurationTenant:
    """The configuration sync; `job` is None until it lives there."""

    def __init__(self) -> None:
        self.job: ConfigurationSync | None = None

    async def knows(self, repository: Repository) -> bool:
        """See Tenant."""
        return self.job is None or await self.job.knows(repository)

    async def move(self, exchange: Exchange) -> None:
        """See Tenant. The sync itself refuses a repository that it does not know."""
        assert self.job is not None, "nobody has to move"
        async with self.job.paused():
            old = exchange()
        await old.idle()


class RuntimeTenant:
    """This node's lease and the mirror; None until they live there."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.mirror: RuntimeMirror | None = None
        self._has_moved = asyncio.Event()

    async def knows(self, repository: Repository) -> bool:
        """See Tenant."""
        return self.lease is None or await self.lease.knows(repository)

    async def move(self, exchange: Exchange) -> None:
        """See Tenant."""
        assert self.lease is not None, "nobody has to move"
        async with contextlib.AsyncExitStack() as pauses:
            if self.mirror is not None:
                await pauses.enter_async_context(self.mirror.moving())
            await pauses.enter_async_context(self.lease.paused())
            old = exchange()
            left = self.lease.leave(old, trusting=old.conditional_writes)
        self._has_moved.set()
        log.warning(
            "the rotated secret leads to another place; its lease is taken before it is used"
        )
        await old.idle()  # what is under way was begun under the lease
        await left.release()

    async def settle(self) -> None:
        """Bring each place we move to in step once it is ours, for ever."""
        while True:
            await self._has_moved.wait()
            self._has_moved.clear()
            if self.lease is not None and self.mirror is not None:
                await self.lease.owned()
                await self.mirror.reclaim()
