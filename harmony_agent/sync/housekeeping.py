"""What one side does now and then besides keeping files in step: look after what it has kept."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from harmony_agent.core.errors import AgentError
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import SET_ASIDE

__all__ = ["AGE", "Chore", "keep_house", "purge_folder", "purge_set_aside"]

log = logging.getLogger(__name__)

AGE: Final = timedelta(days=30)
_STAMP: Final = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{8}")

Chore = Callable[[], Awaitable[object]]


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


async def purge_set_aside(repository: Repository) -> int:
    """Delete what a node set aside in its own runtime folder more than 30 days ago; how many files
    that were. Raises the repository's errors."""
    oldest = datetime.now(UTC) - AGE
    purged = 0
    for entry in await repository.list(SET_ASIDE):
        found = _STAMP.fullmatch(entry.path.rpartition("/")[2])
        if found and datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) < oldest:
            await repository.delete(entry.path, entry.token)
            purged += 1
    return purged


def purge_folder(folder: Path) -> int:
    """Remove files below the local `folder` that are older than 30 days, and folders that are
    empty; how many files that were. Blocking; what can't be removed stays for the next time."""
    oldest = time.time() - AGE.total_seconds()
    purged = 0
    for path in sorted(folder.rglob("*"), reverse=True):  # a folder comes after what it holds
        try:
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.lstat().st_mtime < oldest:
                path.unlink()
                purged += 1
        except OSError as error:
            log.debug("can't be removed: %s", error)
    return purged
