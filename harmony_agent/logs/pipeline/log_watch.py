"""Tells when the log was written to (inotify), for a reader that polls as well."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

from watchdog.observers.inotify_c import (
    InotifyConstants,
    Mask,
    WatchDescriptor,
    inotify_add_watch,
    inotify_init,
    inotify_rm_watch,
)

__all__ = ["LogWatch"]

_EVENTS: Final = Mask(
    InotifyConstants.IN_MODIFY  # truncation as well
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ATTRIB  # removed while it is open
)
_BUFFER: Final = 64 * 1024  # bytes
_FAILED: Final = -1


class LogWatch:
    """Watches the one file that is the log at `path`; nothing else in its directory counts.
    `begin` and `close` are called by one thread, `written` in the event loop.

    Costs nothing while nobody waits: the kernel makes one notice of a thousand writes that nobody
    has asked for, so a busy log is looked at as seldom as its reader likes. Without inotify, and
    while there is no log, there are no notices, and waiting takes as long as it may.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.fsencode(path)
        self._instance: int | None = None
        self._watch: WatchDescriptor | None = None

    def begin(self) -> None:
        """Watch what is the log now, and forget what was noticed; before each look at it.

        Blocks as long as the volume.
        """
        if self._instance is None:
            self._instance = _open()
        if self._instance is None:
            return
        with contextlib.suppress(BlockingIOError):
            os.read(self._instance, _BUFFER)
        # Gives the same number for the same file, and another one after a rotation.
        watch = inotify_add_watch(self._instance, self._path, _EVENTS)
        if self._watch not in (None, watch):
            inotify_rm_watch(self._instance, self._watch)  # fails if the file is gone: well so
        self._watch = None if watch == _FAILED else watch

    async def written(self, seconds: float) -> None:
        """Wait until the log was written to since `begin`, at most `seconds`."""
        instance = self._instance
        if instance is None or self._watch is None:
            await asyncio.sleep(seconds)
            return
        loop, noticed = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(instance, noticed.set)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await noticed.wait()
        finally:
            loop.remove_reader(instance)

    def close(self) -> None:
        """Give the watch back; idempotent."""
        instance, self._instance, self._watch = self._instance, None, None
        if instance is not None:
            os.close(instance)


def _open() -> int | None:
    instance = inotify_init()
    if instance == _FAILED:  # no more instances allowed
        return None
    os.set_blocking(instance, False)
    os.set_inheritable(instance, False)
    return instance
