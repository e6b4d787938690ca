"""An SMB connection that breaks or hangs under many threads: one takes its place, none is lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fixtures.servers.samba import Samba
from fixtures.wire import Wire
from harmony_agent.core.errors import OutcomeUnknown, Unavailable
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.folders import THREADS
from harmony_agent.repositories.interface import Repository
from tests.integration.repositories.backends import smb_settings
from tests.integration.repositories.test_failures import opened

pytestmark = pytest.mark.server

_PIECE = 1024 * 1024


@pytest.fixture
def wire(samba: Samba) -> Iterator[Wire]:
    """The way to the server."""
    with Wire(samba.port) as found:
        yield found


def over(samba: Samba, wire: Wire, scratch: Path) -> Repository:
    """A connector that goes by the wire."""
    return connect(smb_settings(samba, port=wire.port), scratch.name, ca_bundle=None)


async def create(repository: Repository, name: str, count: int) -> list[object]:
    """Write many files at once; what became of each."""
    files = (repository.create(f"{name}/{number}", b"x" * 3000) for number in range(count))
    return list(await asyncio.gather(*files, return_exceptions=True))


async def test_of_many_writes_that_lose_their_connection_one_connects_anew(
    samba: Samba, wire: Wire, tmp_path: Path
) -> None:
    """All are told at once and none waits for an answer that will not come; afterwards all go on
    over one new connection."""
    async with opened(over(samba, wire, tmp_path)) as repository:
        for turn in range(5):
            before = wire.connections
            wire.cut_after(20_000)
            async with asyncio.timeout(25):  # less than their own limit
                outcomes = await create(repository, f"cut-{turn}", THREADS)
            failures = [error for error in outcomes if isinstance(error, Exception)]
            assert failures
            assert [error for error in failures if not isinstance(error, Unavailable)] == []
            again = await create(repository, f"whole-{turn}", THREADS)
            assert [error for error in again if isinstance(error, Exception)] == []
            assert wire.connections == before + 1


async def test_threads_that_hang_in_sending_are_freed(
    samba: Samba, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stops reading for ever; the operations are given up at their limit, and new ones
    find a new connection and threads that are free."""
    for limit in ("limits.DATA_LIMIT", "folders.DATA_LIMIT", "folders.CONTROL_LIMIT"):
        monkeypatch.setattr(f"harmony_agent.repositories.{limit}", 1.0)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(16):
            yield bytes(_PIECE)

    async with opened(over(samba, wire, tmp_path)) as repository:
        wire.fall_silent(after=_PIECE)
        uploads = (
            repository.upload(f"large-{number}", 16 * _PIECE, pieces(), None)
            for number in range(THREADS)
        )
        outcomes = await asyncio.gather(*uploads, return_exceptions=True)
        assert {type(error) for error in outcomes} <= {OutcomeUnknown, Unavailable}
        monkeypatch.undo()
        wire.replace()
        async with asyncio.timeout(120):
            while any(isinstance(e, Exception) for e in await create(repository, "new", THREADS)):
                await asyncio.sleep(0.1)
