"""A bound on the bytes that transfers hold in memory at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Budget"]


class Budget:
    """`size` bytes shared by concurrent transfers; one that is larger goes alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes while the block runs; waits until there is room."""
        wanted = min(size, self._size)
        async with self._freed:
            await self._freed.wait_for(lambda: self._left >= wanted)
            self._left -= wanted
        try:
            yield
        finally:
            # No lock: nothing is awaited between reading and writing the number.
            self._left += wanted
            async with self._freed:
                self._freed.notify_all()
