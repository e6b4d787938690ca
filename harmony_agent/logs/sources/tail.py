"""Follows the log through rewriting and rotation.

A read depends on the position alone: given the same one it starts over, so a read whose result was
lost costs nothing. What is kept between reads (the open file) only saves work, but for one case: a
file that was renamed and removed can be read to its end only through it.
"""

import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from harmony_agent.logs.sources.generations import (
    Generation,
    Incomplete,
    Source,
    archived,
    open_source,
)
from harmony_agent.logs.sources.position import Position
from harmony_agent.logs.sources.reader import EventReader
from harmony_agent.logs.sources.taking import Changed, Reading, take
from harmony_agent.logs.systems.interface import Limits

__all__ = ["Reading", "Tail"]

log = logging.getLogger(__name__)

_MOST_FINISHED: Final = 64  # content keys in a position


@dataclass(frozen=True, slots=True)
class _Place:
    """Where to read next: `final` if nothing will be written there any more, `last` if it is the
    log as it stands now, `listing` what was put away when it was chosen as the newest."""

    source: Source
    start: Position
    final: bool
    last: bool
    listing: list[Generation] | None = None


class Tail:
    """The log at `path` with its archive. All methods block and raise OSError.

    `scratch` is a directory where large packed archives may be unpacked for a while.
    """

    def __init__(self, path: Path, archive: Path, reader: EventReader, scratch: Path) -> None:
        self._path = path
        self._archive = archive
        self._reader = reader
        self._scratch = scratch
        self._held: Source | None = None
        self._told_lost: Position | None = None
        self._lost = False  # whether the log of the position that is being read from is gone

    def read(self, position: Position, limits: Limits) -> Reading:
        """The next events after `position`, none if there are none yet."""
        self._lost = False
        reading = self._next(position, limits)
        if self._lost and not reading.unsettled:  # else it was only being renamed just then
            self._tell_lost(position)
            if reading.after is not position:
                return replace(reading, gap=position.behind)
        return reading

    def holds(self, position: Position) -> bool | None:
        """Whether the log or its archive still has the file in which `position` is; None: that
        can't be told while a file is being packed."""
        current = Generation(self._path, 0, archived=False)
        try:
            return self._find(position, [current, *self._archived(position)]) is not None
        except Incomplete:
            return None

    def close(self) -> None:
        """Give back the open file."""
        self._hold(None)

    def _next(self, position: Position, limits: Limits) -> Reading:
        nothing = Reading([], position)
        finished = list(position.finished)
        try:
            with closing(self._places(position, finished)) as places:
                for place in places:
                    start = replace(place.start, finished=tuple(finished[-_MOST_FINISHED:]))
                    reading = take(self._reader, place.source, start, limits, final=place.final)
                    if place.listing not in (None, self._archived(position)):
                        # Rotated again: look anew, or a file would be missed.
                        return Reading([], position, unsettled=True)
                    if reading.after is not start:
                        self._hold(place.source)
                        return replace(reading, at_end=place.last and not reading.behind)
                    at_end = place.last and not reading.behind
                    nothing = Reading([], position, reading.behind, at_end=at_end)
        except (Changed, Incomplete) as change:
            log.debug("the log is being rotated: %s", change)
            return Reading([], position, unsettled=True)
        return nothing

    def _places(self, position: Position, finished: list[str]) -> Generator[_Place]:
        """Where to look, in order: the file of `position`, then the later ones from their top.

        A file that is left behind is added to `finished`, and never looked at again.
        """
        newest = self._newest()  # before any read: what is read after it is not newer
        held = self._held
        read_to_end = held is not None and held.holds(position)
        if held is not None and read_to_end:
            is_newest = held.identity == newest
            yield _Place(held, position, final=newest is not None and not is_newest, last=is_newest)
            if is_newest:
                return
            finished.append(held.content_key())
        listing = self._archived(position)
        current = Generation(self._path, 0, archived=False)
        ours = self._find(position, [current, *listing])
        if ours is None and position.fingerprint and not read_to_end:
            self._lost = True
        final = newest is not None  # a file put away is whole once the next one is there
        if ours is current:
            yield from self._open(current, position, finished, final=False)
            return
        top = Position(position.modified, context=position.context)
        if ours is not None:
            yield from self._open(ours, position, finished, final=final)
        for generation in _not_before(ours, listing):
            if generation is not ours:
                yield from self._open(generation, top, finished, final=final)
        yield from self._open(current, top, finished, final=False, listing=listing)

    def _open(
        self,
        generation: Generation,
        start: Position,
        finished: list[str],
        *,
        final: bool,
        listing: list[Generation] | None = None,
    ) -> Iterator[_Place]:
        """The one place in `generation`, unless it is gone or was finished before."""
        source = open_source(generation, self._scratch)
        if source is None:
            return
        try:
            if not generation.archived:
                yield _Place(source, start, final, last=True, listing=listing)
            elif (key := source.content_key()) not in finished:
                yield _Place(source, start, final, last=False)
                finished.append(key)
        finally:
            if source is not self._held:
                source.close()

    def _find(self, position: Position, among: list[Generation]) -> Generation | None:
        """The file that holds `position`."""
        if not position.fingerprint:
            return None
        for generation in among:
            source = open_source(generation, self._scratch)
            if source is not None:
                with closing(source):
                    if source.holds(position):
                        return generation
        return None

    def _archived(self, position: Position) -> list[Generation]:
        return archived(self._path, self._archive, position.modified)

    def _newest(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _hold(self, source: Source | None) -> None:
        if self._held is not None and self._held is not source:
            self._held.close()
        self._held = source

    def _tell_lost(self, position: Position) -> None:
        if self._told_lost != position:
            self._told_lost = position
            log.error(
                "the log that was read last is neither there nor in the archive: what was not read "
                "of it is lost, %d bytes as far as is known; keep rotated logs in logs/archive",
                position.behind,
                extra={"offset": position.offset, "archive": str(self._archive)},
            )


def _not_before(ours: Generation | None, listing: list[Generation]) -> list[Generation]:
    """`listing` without what lies in the same zip as `ours` and before it."""
    if ours is None:
        return listing
    place = listing.index(ours)
    return [one for one in listing[:place] if one.path != ours.path] + listing[place:]
