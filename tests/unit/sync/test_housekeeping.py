"""What was kept for a month goes, and nothing else."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harmony_agent.core.errors import Unavailable
from harmony_agent.sync.housekeeping import Sightings, keep_house, purge_folder, purge_set_aside
from tests.unit.sync.memory_repository import MemoryRepository

ASIDE = ".harmony-agent/set-aside/AS2/data/1"


def stamp(days: int) -> str:
    """A moment so many days ago, as it stands in a name."""
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y%m%dT%H%M%SZ")


async def test_only_old_files_of_our_own_naming_are_purged_in_the_repository() -> None:
    """Younger ones stay, and so does what somebody else put there."""
    repository = MemoryRepository()
    young, foreign = f"{ASIDE}/{stamp(29)}-0123abcd", f"{ASIDE}/notes.txt"
    for path in (f"{ASIDE}/{stamp(31)}-0123abcd", young, foreign, "AS2/data/1"):
        repository.put(path, b"x")
    now = 0.0
    sightings = Sightings(lambda: now)
    assert await purge_set_aside(repository, sightings) == 0, "the clock may have jumped"
    now += 3600
    assert await purge_set_aside(repository, sightings) == 1
    assert repository.files.keys() == {young, foreign, "AS2/data/1"}


def test_only_old_files_are_purged_in_the_state_directory(tmp_path: Path) -> None:
    """Folders that are empty then go as well."""
    month = time.time() - 31 * 24 * 3600
    for name in ("certs/sub/old", "conf/old", "conf/young"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        if path.name == "old":
            os.utime(path, (month, month))
    now = 0.0
    sightings = Sightings(lambda: now)
    assert purge_folder(tmp_path, sightings) == 0, "the clock may have jumped"
    now += 3600
    assert purge_folder(tmp_path, sightings) == 2
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "conf",
        "conf/young",
    ]
    assert purge_folder(tmp_path / "never made", sightings) == 0


@pytest.mark.looptime
async def test_a_chore_that_fails_keeps_no_other_from_being_done() -> None:
    """All are tried each time."""
    done = 0

    async def fails() -> None:
        raise Unavailable("not now")

    async def works() -> None:
        nonlocal done
        done += 1

    task = asyncio.create_task(keep_house([fails, works], 60))
    await asyncio.sleep(150)
    task.cancel()
    assert done == 3
