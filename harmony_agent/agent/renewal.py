"""Rotated settings of an open repository: tried until they work, the old ones in use until then.

A secret and the server it belongs to are never changed at the same instant, and the server may be
away just then: one attempt is not enough.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import AgentError, Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings import model

__all__ = ["Renewal"]

log = logging.getLogger(__name__)

_CEILING: Final = 30.0  # seconds between attempts


class Renewal:
    """Brings the open repository `name` to the settings that were last wanted, in the background.

    `used` are the settings that `handle` was opened with, `connector` makes one for others.
    """

    def __init__(
        self,
        name: str,
        handle: Handle,
        used: model.Repository,
        connector: Callable[[model.Repository], Repository],
        health: Health,
    ) -> None:
        self._name = name
        self._handle = handle
        self._used = self._wanted = used
        self._connector = connector
        self._health = health
        self._condition = f"{name}-secret"
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def want(self, settings: model.Repository) -> None:
        """These settings are to be used from now on; whatever was wanted before no longer is."""
        self._wanted = settings
        self._news.set()
        if settings != self._used and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._renew(), name=self._condition)

    async def close(self) -> None:
        """Try no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _renew(self) -> None:
        backoff = Backoff(first=1.0, ceiling=_CEILING)
        while self._wanted != self._used:
            self._news.clear()
            wanted = self._wanted
            try:
                await self._handle.rotate(self._connector(wanted))
            except (AgentError, OSError) as error:  # OSError: a CA bundle that can't be read
                self._tell(error)
                asked = error.retry_after if isinstance(error, Unavailable) else None
                # Not wait_for: before Python 3.12 it loses a cancellation that comes with the news.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(backoff.next(asked)):
                        await self._news.wait()
            else:
                self._used = wanted
                log.info("the %s repository uses the new settings", self._name)
        self._health.ok(self._condition)

    def _tell(self, error: AgentError | OSError) -> None:
        message = f"the rotated secret can't be used yet, the old one still is: {error}"
        self._health.trouble(self._condition, message)
        log.warning("%s repository: %s", self._name, message)
