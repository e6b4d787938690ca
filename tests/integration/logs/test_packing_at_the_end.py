"""The end of the agent while Harmony's log is being packed: what lies behind it is waited for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harmony_agent.logs.sources.position import Position
from harmony_agent.logs.sources.tail import Reading, Tail
from harmony_agent.logs.systems.interface import Limits
from tests.integration.logs.scripted import ScriptedLogSystem
from tests.integration.logs.test_parking import Pod, down
from tests.integration.logs.test_pipeline_stream import messages, until


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    """A pod whose Harmony has started."""
    return Pod(tmp_path)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Position]:
    """Where the log was looked at, look by look."""
    positions: list[Position] = []
    read = Tail.read

    def noted(tail: Tail, position: Position, limits: Limits) -> Reading:
        positions.append(position)
        return read(tail, position, limits)

    monkeypatch.setattr(Tail, "read", noted)
    return positions


@contextlib.asynccontextmanager
async def packing(pod: Pod) -> AsyncIterator[None]:
    """Ten events are delivered, ten more are put away to an archive of which a half is there while
    the block runs, and ten stand in the new log."""
    system = ScriptedLogSystem()
    pod.node.write(10)
    async with pod.node.running(system) as stream:
        await until(lambda: stream.status()["delivered"] == 10)
    pod.node.write(10)
    pod.node.log.rotate(pod.node.home / "logs" / "archive", packing="gzip")
    (archive,) = (pod.node.home / "logs" / "archive").iterdir()
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    pod.node.write(10)
    yield
    archive.write_bytes(whole)


async def looked_again(looks: list[Position], task: asyncio.Task[object]) -> None:
    """Until `task` has ended or the log was looked at several times."""
    before = len(looks)
    await until(lambda: task.done() or len(looks) >= before + 3)
    assert not task.done()


async def test_the_drain_delivers_what_lies_behind_a_file_that_is_being_packed(
    pod: Pod, looks: list[Position]
) -> None:
    """It looks again until the archive is whole, and leaves nothing."""
    system = ScriptedLogSystem()
    stream = pod.node.stream(system)
    async with packing(pod):
        draining = asyncio.create_task(stream.drain(60))
        await looked_again(looks, draining)
    assert await draining is None
    assert messages(system) == pod.node.messages()[10:]
    await stream.close()


async def test_what_lies_behind_a_file_that_is_being_packed_is_parked(
    pod: Pod, looks: list[Position]
) -> None:
    """The drain's time is over before the archive is whole, so that nothing can be counted: parking
    goes on looking, and parks all of it."""
    stream = pod.node.stream(down())
    async with packing(pod):
        assert await stream.drain(0.3) == 0
        parking = asyncio.create_task(stream.park_rest(pod.folder, pod.announce, rest=True))
        await looked_again(looks, parking)
        assert not pod.parked()
    await parking
    assert pod.parked() == pod.node.messages()[10:]
    await stream.close()
