"""What one side does now and then besides keeping files in step: look after what it has kept."""

import asyncio
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from harmony_agent.core.errors import AgentError
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import SET_ASIDE

__all__ = ["AGE", "Chore", "Sightings", "keep_house", "purge_folder", "purge_set_aside"]

log = logging.getLogger(__name__)

AGE: Final = timedelta(days=30)
_SEEN_FOR: Final = 3600.0  # seconds
_STAMP: Final = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{8}")

Chore = Callable[[], Awaitable[object]]


class Sightings:
    """Since when things have been seen, by a clock that never jumps: a wall clock that is a month
    ahead for a moment must not purge anything."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: dict[str, float] = {}

    def see(self, present: Iterable[str]) -> None:
        """These are there now, and no others."""
        now = self._clock()
        self._first = {one: self._first.get(one, now) for one in present}

    def are_long(self, one: str) -> bool:
        """Whether `one` has been seen for an hour."""
        return self._clock() - self._first.get(one, math.inf) >= _SEEN_FOR


async def keep_house(chores: Sequence[Chore], every: float) -> None:
    """Do all `chores`, again and again, `every` so many seconds; one that fails is told and done
    the next time."""
    while True:
        for chore in chores:
            try:
                await chore()
            except AgentError as error:
                log.info("put off: %s", error)
        await asyncio.sleep(every)


async def purge_set_aside(repository: Repository, sightings: Sightings) -> int:
    """Delete what a node set aside in its own runtime folder more than 30 days ago; how many files
    that were. Raises the repository's errors."""
    oldest = datetime.now(UTC) - AGE
    purged = 0
    entries = await repository.list(SET_ASIDE)
    sightings.see(entry.path for entry in entries)
    for entry in entries:
        found = _STAMP.fullmatch(entry.path.rpartition("/")[2])
        if not found or not sightings.are_long(entry.path):
            continue
        if datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) < oldest:
            await repository.delete(entry.path, entry.token)
            purged += 1
    return purged


def purge_folder(folder: Path, sightings: Sightings) -> int:
    """Remove files below the local `folder` that are older than 30 days, and folders that are
    empty; how many files that were. Blocking; what can't be removed stays for the next time."""
    oldest = time.time() - AGE.total_seconds()
    purged = 0
    paths = sorted(folder.rglob("*"), reverse=True)  # a folder comes after what it holds
    sightings.see(str(path) for path in paths)
    for path in paths:
        try:
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.lstat().st_mtime < oldest and sightings.are_long(str(path)):
                path.unlink()
                purged += 1
        except OSError as error:
            log.debug("can't be removed: %s", error)
    return purged
