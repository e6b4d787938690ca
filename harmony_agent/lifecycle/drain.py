"""One deadline for the end: Harmony's last seconds first, then our own last push."""

import asyncio
from collections.abc import Callable

__all__ = ["Deadline", "harmony_gone"]

_POLL = 0.2  # seconds; the file lies on a local volume


class Deadline:
    """A moment on the loop's clock, `seconds` from now."""

    def __init__(self, seconds: float) -> None:
        self._at = asyncio.get_running_loop().time() + seconds

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._at - asyncio.get_running_loop().time())

    def reserve(self, seconds: float) -> float:
        """Seconds left when `seconds` are kept back for what comes after."""
        return max(0.0, self.left() - seconds)


async def harmony_gone(runs: Callable[[], bool], limit: float | None) -> bool:
    """Wait until Harmony no longer runs, at most `limit` seconds; whether it is gone."""
    try:
        async with asyncio.timeout(limit):
            while runs():  # noqa: ASYNC110 - another container removes a file
                await asyncio.sleep(_POLL)
    except TimeoutError:
        return False
    return True
