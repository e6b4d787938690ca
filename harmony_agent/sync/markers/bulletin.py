"""The folder of change markers: ours is written there, the others' are looked at."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Final

from harmony_agent.core.errors import Absent, AgentError, PreconditionFailed
from harmony_agent.repositories.interface import Entry, Repository, Token
from harmony_agent.repositories.layout import MARKERS
from harmony_agent.sync.markers.days import Days, abandoned
from harmony_agent.sync.markers.marker import LARGEST_MARKER, Marker, News, Place, news
from harmony_agent.sync.markers.own_marker import OwnMarker

__all__ = ["Bulletin"]

log = logging.getLogger(__name__)

_APART: Final = 0.25  # seconds between two looks, however often something happens there
_AT_ONCE: Final = 16  # markers that are read at the same time
_MOST_NAMED: Final = 1024  # paths; beyond this a listing is cheaper than looking at each


class Bulletin:
    """What the nodes tell each other about `repository`: our marker, and news from the others."""

    def __init__(
        self, repository: Repository, host: str, interval: float, *, clock: Callable[[], float]
    ) -> None:
        """`interval` is in seconds between looks when nothing is notified; `clock` never goes
        back."""
        self.own = OwnMarker(repository, host, clock=clock)
        self._repository = repository
        self._interval = interval
        self._clock = clock
        self._reading = asyncio.Lock()
        self._tokens: dict[str, Token] = {}
        self._days = Days(clock)
        self._day_of: dict[str, int] = {}
        self._places: dict[str, Place | None] = {}
        self._named: dict[str, bool] = {}
        self._gap = False
        self._looked_at = clock() - _APART
        self._is_failing = False

    async def watch(self) -> None:
        """Look at the markers again and again until there is something to `take`, or ours has to
        be written.

        A look is one listing of one small folder; what has changed is read. Raises the
        repository's errors; returns as well once it can be looked at again.
        """
        while True:
            await self._pause()
            recovers, self._is_failing = self._is_failing, True
            await self._look()
            self._is_failing = False
            if recovers or self._named or self._gap or self.own.due is not None:
                return

    async def before_listing(self) -> None:
        """Called before the repository is listed: what the markers tell until now will be seen
        there, however it was missed."""
        with contextlib.suppress(AgentError):  # then the first look finds nodes it does not know
            await self._look()
            self._gap = False

    def take(self) -> News:
        """What is new since the last call."""
        taken = News(self._named, self._gap)
        self._named, self._gap = {}, False
        return taken

    async def purge(self) -> None:
        """Delete the markers of nodes that have been away for thirty days. Raises the repository's
        errors."""
        for path in abandoned(self._days.today, self._day_of):
            try:
                await self._repository.delete(path, self._tokens[path])
            except PreconditionFailed:
                continue  # its node has come back
            log.info(
                "a node has been away for 30 days: its change marker is deleted",
                extra={"marker": path},
            )

    async def _pause(self) -> None:
        """Wait until it is time for a look, or something happens there."""
        # Jitter keeps the nodes of a system from asking in step.
        wait = self._interval * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not cryptography
        await self._repository.await_change(MARKERS, wait)
        await asyncio.sleep(self._looked_at + _APART - self._clock())

    async def _look(self) -> None:
        async with self._reading:
            self._looked_at = self._clock()
            found = {entry.path: entry for entry in await self._repository.list(MARKERS)}
            own = found.pop(self.own.path, None)
            self.own.saw(None if own is None else own.token)
            changed = [e for e in found.values() if self._tokens.get(e.path) != e.token]
            for start in range(0, len(changed), _AT_ONCE):
                batch = changed[start : start + _AT_ONCE]
                reads = [self._read(entry) for entry in batch]
                for outcome in await asyncio.gather(*reads, return_exceptions=True):
                    if isinstance(outcome, BaseException):
                        raise outcome
            self._day_of = {path: self._day_of[path] for path in found if path in self._day_of}
            self._days.saw([self.own.day, *self._day_of.values()])
            self.own.renew(self._days.today)

    async def _read(self, entry: Entry) -> None:
        marker = None
        token = entry.token
        if entry.size <= LARGEST_MARKER:
            try:
                content = await self._repository.read(entry.path)
            except Absent:
                return  # gone meanwhile
            marker, token = Marker.from_bytes(content.data), content.token
        self._note(news(self._places.get(entry.path), marker))
        self._places[entry.path] = None if marker is None else marker.place
        self._tokens[entry.path] = token
        self._day_of[entry.path] = 0 if marker is None else marker.day

    def _note(self, found: News) -> None:
        for path, deleted in found.named.items():
            self._named[path] = deleted
        self._gap = self._gap or found.gap
        if len(self._named) > _MOST_NAMED:
            self._named.clear()
            self._gap = True
