"""Hints from the kernel (inotify) that something below Harmony's home has changed.

They are hints only: the kernel drops events when its queue overflows, and a node's limits may
allow fewer watches than there are folders. Who uses them rescans from time to time.

watchdog's InotifyFD is used directly: its Observer takes a thread for every folder watched at the
top, and tells neither of lost events nor of watches refused by the limits.
"""

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from harmony_agent.core.durable import is_temporary
from harmony_agent.sync import metrics

__all__ = ["HintSource", "Hints", "Watcher"]

log = logging.getLogger(__name__)

_EVENTS: Final = Mask(
    InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MODIFY  # files that are appended to and never closed
    | InotifyConstants.IN_CREATE  # folders, and hard links
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_ONLYDIR
)
_MOST_PATHS: Final = 1000  # beyond this, looking at everything is cheaper
_LIMITS: Final = ("max_user_watches", "max_user_instances", "max_queued_events")
_LIMITS_FOLDER: Final = Path("/proc/sys/fs/inotify")
_LIMIT_FILES: Final = f"{_LIMITS_FOLDER}/{_LIMITS[0]}, {_LIMITS[1]}"


@dataclass(frozen=True, slots=True)
class Hints:
    """Files and folders (relative paths) that may have changed, or `everything`."""

    paths: frozenset[str] = frozenset()
    everything: bool = False

    def __bool__(self) -> bool:
        return self.everything or bool(self.paths)


class HintSource(Protocol):
    """Where hints come from."""

    @property
    def trouble(self) -> str | None:
        """Why hints can't be relied on at all, for a person; None if they can."""

    def enter(self, folder: str) -> None:
        """`folder` is about to be listed: give hints about it from now on. Any thread."""

    async def wait(self, limit: float) -> Hints:
        """The hints since the last call; waits for the first, at most `limit` seconds."""

    def wake(self) -> None:
        """Have `wait` return soon, hints or not."""

    def close(self) -> None:
        """No more hints."""


class Watcher:
    """Hints about the folders of `home` that were entered, by inotify."""

    def __init__(self, home: Path, side: str, concerns: Callable[[str], bool]) -> None:
        """Must be made in the event loop that waits. `concerns` says for a path whether a change
        there is worth a hint; it is called in another thread."""
        self._home = home
        self._concerns = concerns
        self._side = side
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._lock = Lock()  # guards what follows: it is used from three threads
        self._folders: dict[WatchDescriptor, str] = {}
        self._watches: dict[str, tuple[WatchDescriptor, int]] = {}  # descriptor, inode
        self._paths: set[str] = set()
        self._everything = False
        self._trouble: str | None = None
        self._inotify: InotifyFD | None = None
        log.info("%s: watching home by inotify", side, extra=_limits())
        try:
            self._inotify = InotifyFD()
            self._inotify.start()
        except OSError as error:
            self._trouble = _explain(error)

    @property
    def trouble(self) -> str | None:
        """Why hints can't be relied on; None if they can."""
        return self._trouble

    def enter(self, folder: str) -> None:
        """Watch `folder` from now on, if the limits allow."""
        if self._inotify is None:
            return
        if not folder:
            self._trouble = None  # a new scan begins, the limits may allow more by now
        path = self._home / folder
        mask = Mask(_EVENTS | InotifyConstants.IN_DONT_FOLLOW) if folder else _EVENTS
        try:
            inode = path.stat().st_ino
            with self._lock:
                known = self._watches.get(folder)
                if known is not None and known[1] == inode:
                    return
                self._forget_below(folder)
                watch = self._inotify.add_callback(
                    os.fsencode(path), mask, self, CallbackId(id(self))
                )
                self._folders[watch] = folder
                self._watches[folder] = (watch, inode)
        except FileNotFoundError:
            pass  # the scan will find out as well
        except OSError as error:
            self._trouble = _explain(error)

    async def wait(self, limit: float) -> Hints:
        """The hints since the last call; waits for the first, at most `limit` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._woken.wait()
        self._woken.clear()
        with self._lock:
            hints = Hints(frozenset(self._paths), self._everything)
            self._paths.clear()
            self._everything = False
        return hints

    def wake(self) -> None:
        """Have `wait` return soon."""
        self._woken.set()

    def close(self) -> None:
        """Stop the thread and give back the watches."""
        if self._inotify is not None:
            inotify, self._inotify = self._inotify, None
            inotify.stop()
            inotify.join(5)

    # What follows is called by watchdog, in its thread.

    def on_event(self, event: InotifyEvent) -> None:
        """Something happened in a watched folder."""
        name = os.fsdecode(event.name)
        if not name or is_temporary(name):
            return
        with self._lock:
            folder = self._folders.get(event.wd)
            if folder is None:
                return
            path = f"{folder}/{name}" if folder else name
            if event.is_moved_from and event.is_directory:
                self._forget_below(path)  # its watches would report the old path
            if self._concerns(path):
                self._hint(path)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """A watched folder is gone."""
        with self._lock:
            folder = self._folders.pop(wd, None)
            if folder is not None:
                self._watches.pop(folder, None)
                self._hint(folder)

    def on_queue_overflow(self) -> None:
        """The kernel lost events."""
        metrics.LOST_HINTS.labels(self._side).inc()
        with self._lock:
            self._hint("")

    # With the lock held.

    def _hint(self, path: str) -> None:
        if not self._paths and not self._everything:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._woken.set)
        if not path or len(self._paths) >= _MOST_PATHS:
            self._everything = True
            self._paths.clear()
        elif not self._everything:
            self._paths.add(path)

    def _forget_below(self, folder: str) -> None:
        below = [f for f in self._watches if f == folder or f.startswith(f"{folder}/")]
        watches = [self._watches.pop(path)[0] for path in below]
        for watch in watches:
            self._folders.pop(watch, None)
        if watches and self._inotify is not None:
            self._inotify.remove_callbacks([(watch, CallbackId(id(self))) for watch in watches])


def _limits() -> dict[str, int]:
    """The node's limits, which all pods on it share, as far as they can be read."""
    found = {}
    for name in _LIMITS:
        with contextlib.suppress(OSError, ValueError):
            found[name] = int((_LIMITS_FOLDER / name).read_text())
    return found


def _explain(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EMFILE):
        return (
            f"{error.strerror}: changes are found by polling; raise the node's limits "
            f"({_LIMIT_FILES})"
        )
    return f"no change events from the kernel ({error.strerror}): changes are found by polling"
