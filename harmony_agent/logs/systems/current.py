"""The log system in use, exchangeable while it is used."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harmony_agent.logs.systems.interface import Limits, LogSystem

__all__ = ["CurrentLogSystem"]


class CurrentLogSystem:
    """Hands out the log system; one that was replaced is closed after its last use."""

    def __init__(self, log_system: LogSystem) -> None:
        self._current = log_system
        self._uses = {log_system: 0}
        self._idle = asyncio.Condition()
        self.replaced = asyncio.Event()
        """Set by each replacement; whoever waits for better times clears it."""
        self.version = 0
        """How often it was replaced."""

    @property
    def kind(self) -> str:
        """The kind of the one in use."""
        return self._current.kind

    @property
    def limits(self) -> Limits:
        """The limits of the one in use."""
        return self._current.limits

    @property
    def concurrency(self) -> int:
        """How many batches the one in use may be sent at once."""
        return self._current.concurrency

    @asynccontextmanager
    async def use(self) -> AsyncIterator[LogSystem]:
        """The log system, which stays open until the block is left."""
        system = self._current
        self._uses[system] += 1
        try:
            yield system
        finally:
            self._uses[system] -= 1
            async with self._idle:
                self._idle.notify_all()

    async def replace(self, log_system: LogSystem) -> None:
        """Use `log_system` from now on; returns once the old one is closed."""
        old, self._current = self._current, log_system
        self._uses.setdefault(log_system, 0)
        self.version += 1
        self.replaced.set()
        async with self._idle:
            await self._idle.wait_for(lambda: self._uses[old] == 0)
        del self._uses[old]
        await old.close()

    async def close(self) -> None:
        """Close the one in use."""
        await self._current.close()
