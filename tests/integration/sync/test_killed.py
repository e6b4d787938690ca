"""An agent that is killed at any moment loses nothing and leaves nothing behind."""

import asyncio
import contextlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harmony_agent.core.durable import TEMPORARY_PREFIX
from tests.integration.sync.disk import Disk, eventually, make_disk, tree

ROUNDS = 8


@contextlib.contextmanager
def agent(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The agent's process, killed at the end if it still lives."""
    command = [sys.executable, "-m", "tests.integration.sync.agent_process", str(folder)]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


def without_node(stored: dict[str, bytes]) -> dict[str, bytes]:
    """The configuration in a repository whose root holds the node's folder as well."""
    return {path: data for path, data in stored.items() if not path.startswith("node-1/")}


def residue(folder: Path) -> list[Path]:
    """Temporary files among Harmony's files below `folder`."""
    return [p for p in folder.rglob(f"{TEMPORARY_PREFIX}*") if p.parent.name != ".harmony-agent"]


@pytest.fixture
def dice() -> random.Random:
    """The same throws in every run."""
    return random.Random(20260310)


async def test_a_mirror_killed_again_and_again_catches_up(
    tmp_path: Path, dice: random.Random
) -> None:
    """Harmony goes on writing while the agent dies; in the end both repositories hold home."""
    disk = make_disk(tmp_path)
    disk.write("conf/Options.xml", b"<Options/>")
    expected: dict[str, bytes] = {"conf/Options.xml": b"<Options/>"}
    serial = 0

    def harmony_works() -> None:
        nonlocal serial
        serial += 1
        for path, text in (
            (f"AS2/data/{serial}.id", f"{serial}@acme"),
            (f"AS2/mdn/sent/{serial}.mdn", f"processed {serial}"),
            ("conf/Options.xml", f"<Options serial='{serial}'/>"),
            (f"hosts/Host {serial % 7}.xml", f"<Host serial='{serial}'/>"),
        ):
            disk.write(path, text.encode())
            expected[path] = text.encode()
        if serial % 3 == 0:
            (disk.home / f"AS2/data/{serial}.id").unlink()
            del expected[f"AS2/data/{serial}.id"]

    for _ in range(ROUNDS):
        with agent(tmp_path) as process:
            end = asyncio.get_running_loop().time() + dice.uniform(0.6, 2.0)
            while asyncio.get_running_loop().time() < end:
                harmony_works()
                await asyncio.sleep(dice.uniform(0, 0.05))
            assert process.poll() is None
    with agent(tmp_path):

        def is_in_step() -> bool:
            runtime = tree(disk.store / "node-1")
            return {**without_node(disk.stored()), **runtime} == expected

        with contextlib.suppress(TimeoutError):
            await eventually(is_in_step, limit=45)
    assert {**without_node(disk.stored()), **tree(disk.store / "node-1")} == expected
    assert tree(disk.home) == expected
    assert residue(disk.home) == []
    assert not (disk.store / "node-1/.harmony-agent/set-aside").exists()


async def test_a_first_pull_killed_again_and_again_completes(
    tmp_path: Path, dice: random.Random
) -> None:
    """No half file is ever taken for a change; stock that gave way is kept."""
    disk = make_disk(tmp_path)
    store = Disk(disk.store, disk.state, disk.store)
    for number in range(400):
        store.write(f"certs/{number}.cer", b"certificate %d\n" % number * 50)
        store.write(f"node-1/AS2/data/{number}.id", b"%d@acme" % number)
    store.write("conf/Options.xml", b"<Options shared='1'/>")
    store.write(".harmony-agent/repo-id", b"an-id\n")
    disk.write("conf/Options.xml", b"<Options stock='1'/>")
    disk.write("certs/stock.cer", b"stock")
    before = disk.stored()
    for _ in range(ROUNDS):
        with agent(tmp_path):
            await asyncio.sleep(dice.uniform(0.4, 0.9))
    with agent(tmp_path):
        await eventually((tmp_path / "pulled").exists, limit=45)
        await eventually(lambda: not residue(disk.home))
    assert disk.stored() == before
    wanted = {path.removeprefix("node-1/"): data for path, data in before.items()}
    assert tree(disk.home) == wanted
    assert tree(disk.state / "replaced") == {
        "conf/Options.xml": b"<Options stock='1'/>",
        "certs/stock.cer": b"stock",
    }
