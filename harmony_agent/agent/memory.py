"""Memory that was freed goes back to the kernel."""

import asyncio
import ctypes
import gc
from collections.abc import Callable
from typing import Final

__all__ = ["keep_small"]

_EVERY: Final = 15.0  # seconds


async def keep_small() -> None:
    """For ever: a root task, begun when everything is imported.

    glibc keeps what was freed between what is in use: 1 MiB of an idle agent, more after many
    files. malloc_trim(3) gives it back; that takes half a millisecond where there is something to
    give back, 20 µs where there is not. What was imported stays for good, so it need not be looked
    through by every full garbage collection.
    """
    gc.collect()
    gc.freeze()
    trim = _trimmer()
    while True:
        trim(0)
        await asyncio.sleep(_EVERY)


def _trimmer() -> Callable[[int], object]:
    """malloc_trim, or nothing where the C library has none (musl)."""
    trim: Callable[[int], object] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim or (lambda _: None)
