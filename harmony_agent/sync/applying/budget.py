"""A bound on the bytes that transfers hold in memory at the same time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Budget"]


class Budget:
    """`size` bytes shared by concurrent transfers, first come, first served; one that is larger
    goes alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes while the block runs; waits until there is room."""
        wanted = min(size, self._size)
        if self._waiting or self._left < wanted:
            await self._wait(wanted)
        else:
            self._left -= wanted
        try:
            yield
        finally:
            self._give(wanted)

    async def _wait(self, wanted: int) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, granted))
        try:
            await granted
        except asyncio.CancelledError:
            # Granted in the same moment, or still in the way of those behind.
            self._give(wanted if granted.done() and not granted.cancelled() else 0)
            raise

    def _give(self, size: int) -> None:
        """Take `size` bytes back and grant what there is room for, in order."""
        self._left += size
        while self._waiting:
            wanted, granted = self._waiting[0]
            if not granted.done():
                if self._left < wanted:
                    break
                self._left -= wanted
                granted.set_result(None)
            self._waiting.popleft()
