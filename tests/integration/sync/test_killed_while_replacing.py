"""An agent killed between a replacement and the look at what it has replaced loses no edit."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.sync.disk import Disk, eventually, make_disk, tree
from tests.integration.sync.test_killed import agent, residue

LIMIT = 60.0  # seconds


async def test_an_edit_of_that_moment_is_kept_by_the_next_process(tmp_path: Path) -> None:
    """What was taken out of home lies under its own path among what is kept, nothing else does,
    and home holds what the repository holds."""
    disk = make_disk(tmp_path)
    path = "hosts/a.xml"
    disk.write(path, b"<Host version='1'/>")
    with agent(tmp_path):
        await eventually(lambda: disk.stored().get(path) == b"<Host version='1'/>", LIMIT)
        await eventually((tmp_path / "pulled").exists, LIMIT)
    Disk(disk.store, disk.state, disk.store).write(path, b"<Host version='2'/>")

    command = [sys.executable, "-m", "tests.integration.sync.doomed_agent"]
    edit = "<Host edited='here'/>"
    with subprocess.Popen([*command, str(tmp_path), edit]) as process:
        ended = await asyncio.to_thread(process.wait, LIMIT)
    assert ended == -signal.SIGKILL
    assert tree(disk.home) == {path: b"<Host version='2'/>"}
    assert [left.read_text() for left in residue(disk.home)] == [edit]

    with agent(tmp_path):
        await eventually(lambda: not residue(disk.home), LIMIT)
    assert tree(disk.state / "replaced") == {path: edit.encode()}
    assert tree(disk.home) == {path: b"<Host version='2'/>"}
