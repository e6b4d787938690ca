"""Tells when something directly in a folder of this machine has changed (inotify)."""

import asyncio
import contextlib
import os
import struct
from pathlib import Path
from typing import Final

from watchdog.observers.inotify_c import (
    InotifyConstants,
    Mask,
    inotify_add_watch,
    inotify_init,
)

from harmony_agent.core.durable import is_temporary

__all__ = ["FolderWatch"]

_EVENTS: Final = Mask(
    InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_CREATE  # hard links
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_ONLYDIR
)
_HEAD: Final = struct.Struct("iIII")  # inotify(7), struct inotify_event
_BUFFER: Final = 64 * 1024  # bytes


class FolderWatch:
    """Folders stay watched between calls, so that nothing between two of them is missed.

    Costs nothing while nothing happens: no thread, no timer but the caller's.
    """

    def __init__(self) -> None:
        self._instance: int | None = None
        self._changed: dict[int, asyncio.Event] = {}  # by watch

    def begin(self) -> None:
        """Get ready to watch; for the event loop that waits. Idempotent."""
        if self._instance is None:
            self._instance = self._open()

    def enter(self, folder: Path) -> asyncio.Event | None:
        """Watch `folder` from now on, if it was not watched already; an event that is set when
        something in it changes, None if the kernel can't tell. Blocks as long as the volume."""
        if self._instance is None:
            return None
        # Gives the same number for the same folder, and another if it was made anew.
        watch = inotify_add_watch(self._instance, os.fsencode(folder), _EVENTS)
        if watch == -1:  # not there yet, or no more watches allowed
            return None
        return self._changed.setdefault(watch, asyncio.Event())

    def close(self) -> None:
        """Give the watches back; who waits does so until the limit."""
        if self._instance is not None:
            asyncio.get_running_loop().remove_reader(self._instance)
            os.close(self._instance)
            self._instance = None
            self._changed.clear()

    def _open(self) -> int | None:
        instance = inotify_init()
        if instance == -1:  # no more instances allowed
            return None
        os.set_blocking(instance, False)
        os.set_inheritable(instance, False)
        asyncio.get_running_loop().add_reader(instance, self._read, instance)
        return instance

    def _read(self, instance: int) -> None:
        with contextlib.suppress(BlockingIOError):
            events = os.read(instance, _BUFFER)
            place = 0
            while place < len(events):
                watch, mask, _, length = _HEAD.unpack_from(events, place)
                place += _HEAD.size + length
                name = os.fsdecode(events[place - length : place].rstrip(b"\0"))
                self._note(watch, mask, name)

    def _note(self, watch: int, mask: int, name: str) -> None:
        if mask & InotifyConstants.IN_Q_OVERFLOW:
            for every in self._changed.values():
                every.set()
        elif (changed := self._changed.get(watch)) is not None and not is_temporary(name):
            changed.set()
        if mask & InotifyConstants.IN_IGNORED:  # the folder is gone, and the watch with it
            self._changed.pop(watch, None)
