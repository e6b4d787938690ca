"""Rotated settings of an open repository: tried until they work, the old ones in use until then.

A secret and the server it belongs to are never changed at the same instant, and the server may be
away just then: one attempt is not enough. A secret may also lead to another place: whatever it
leads to is opened, prepared and proven as at the start before anybody uses it, and who lives in
the repository decides how to move.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final, Protocol

from harmony_agent.agent.opening import Prepare, open_and_prove, tell_open
from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import AgentError, Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings import model

__all__ = ["Exchange", "Renewal", "Tenant"]

log = logging.getLogger(__name__)

_CEILING: Final = 30.0  # seconds between attempts

Exchange = Callable[[], Handle]
"""Puts the new connector in use; what was in use until then, which its caller closes."""


class Tenant(Protocol):
    """Who lives in a repository."""

    async def knows(self, repository: Repository) -> bool:
        """Whether `repository`, which is open, leads to the place where we live: then it may be
        put in use at any moment. Raises what reading raises."""

    async def move(self, exchange: Exchange) -> None:
        """Move to another place: call `exchange` once, in a moment in which nothing of ours is
        under way, and settle what is left to do at the old one."""


class Renewal:
    """Brings the open repository `name` to the settings that were last wanted, in the background.

    `used` are the settings that `handle` was opened with, `connector` makes one for others,
    `prepare` makes its folders.
    """

    def __init__(
        self,
        name: str,
        handle: Handle,
        used: model.Repository,
        *,
        connector: Callable[[model.Repository], Repository],
        prepare: Prepare,
        tenant: Tenant,
        health: Health,
    ) -> None:
        self._name = name
        self._handle = handle
        self.used = self._wanted = used
        """The settings that are in use."""
        self._connector = connector
        self._prepare = prepare
        self._tenant = tenant
        self._health = health
        self._condition = f"{name}-secret"
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def want(self, settings: model.Repository) -> None:
        """These settings are to be used from now on; whatever was wanted before no longer is."""
        self._wanted = settings
        self._news.set()
        if settings != self.used and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._renew(), name=self._condition)

    async def close(self) -> None:
        """Try no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _renew(self) -> None:
        backoff = Backoff(first=1.0, ceiling=_CEILING)
        while self._wanted != self.used:
            self._news.clear()
            wanted = self._wanted
            try:
                await self._put_in_use(wanted)
            except (AgentError, OSError) as error:  # OSError: a CA bundle that can't be read
                self._tell(error)
                asked = error.retry_after if isinstance(error, Unavailable) else None
                # Not wait_for: before Python 3.12 it loses a cancellation that comes with the news.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(backoff.next(asked)):
                        await self._news.wait()
        self._health.ok(self._condition)

    async def _put_in_use(self, wanted: model.Repository) -> None:
        connector = self._connector(wanted)
        # Closes in the end what is not in use: the new connector until the exchange, then the old.
        async with contextlib.AsyncExitStack() as closing:
            closing.push_async_callback(connector.close)
            conditional_writes = await open_and_prove(connector, self._prepare)

            def exchange() -> Handle:
                closing.pop_all()
                old = self._handle.exchange(connector, conditional_writes=conditional_writes)
                closing.push_async_callback(old.close)
                self.used = wanted
                log.info("the %s repository uses the new settings", self._name)
                tell_open(self._name, self._handle, self._health)
                return old

            if await self._tenant.knows(connector):
                await exchange().idle()
            else:
                await self._tenant.move(exchange)

    def _tell(self, error: AgentError | OSError) -> None:
        message = f"the rotated secret can't be used yet, the old one still is: {error}"
        self._health.trouble(self._condition, message)
        log.warning("%s repository: %s", self._name, message)
