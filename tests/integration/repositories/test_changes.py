"""Changes by another node are told at once, where the backend can."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fixtures.servers.samba import Samba
from harmony_agent.core.errors import Unavailable
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import MARKERS
from tests.integration.repositories.backends import Backend, smb_settings
from tests.integration.repositories.conftest import make_backend
from tests.integration.repositories.test_failures import opened

pytestmark = pytest.mark.server

_AT_ONCE = 1.0  # seconds; the limit of a wait is far beyond
_LONG = 30.0


@pytest.fixture(params=["file", "smb"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """The backends that can tell."""
    return make_backend(request.param, request, tmp_path)


async def seconds_until_told(repository: Repository) -> float:
    """How long a wait takes."""
    begun = time.monotonic()
    await repository.await_change(MARKERS, _LONG)
    return time.monotonic() - begun


async def armed(repository: Repository) -> "asyncio.Task[float]":
    """A wait that is under way at the backend."""
    await repository.await_change(MARKERS, 0.5)
    return asyncio.create_task(seconds_until_told(repository))


async def test_what_another_node_writes_is_told_at_once(backend: Backend) -> None:
    """Creating, replacing and deleting each end a wait far before its limit."""
    async with opened(backend.connect()) as ours, opened(backend.connect()) as theirs:
        await ours.make_folder(MARKERS)
        waiting = await armed(ours)
        token = await theirs.create(f"{MARKERS}/node", b"1")
        assert await waiting < _AT_ONCE + 0.5
        waiting = await armed(ours)
        token = await theirs.replace(f"{MARKERS}/node", b"2", token)
        assert await waiting < _AT_ONCE
        waiting = await armed(ours)
        await theirs.delete(f"{MARKERS}/node", token)
        assert await waiting < _AT_ONCE


async def test_what_happens_between_two_waits_is_told(backend: Backend) -> None:
    """While nobody waits, changes are remembered."""
    async with opened(backend.connect()) as ours, opened(backend.connect()) as theirs:
        await ours.make_folder(MARKERS)
        await ours.await_change(MARKERS, 0.3)
        await theirs.create(f"{MARKERS}/node", b"1")
        assert await seconds_until_told(ours) < _AT_ONCE


async def test_temporary_files_are_no_news_and_waits_end_at_their_limit(backend: Backend) -> None:
    """A write that fails half-way wakes nobody; neither does a folder that does not exist."""

    async def half() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        yield b"y" * 1000
        raise Unavailable("the source is gone")

    async with opened(backend.connect()) as ours, opened(backend.connect()) as theirs:
        await ours.make_folder(MARKERS)
        await ours.await_change(MARKERS, 0.3)
        begun = time.monotonic()
        waiting = asyncio.create_task(ours.await_change(MARKERS, 1.5))
        with contextlib.suppress(Unavailable):
            await theirs.upload(f"{MARKERS}/node", 3000, half(), None)
        await waiting
        assert time.monotonic() - begun >= 1.4
        begun = time.monotonic()
        await ours.await_change("nowhere", 0.3)
        assert 0.2 < time.monotonic() - begun < _AT_ONCE


async def test_waits_survive_a_restart_of_the_server(tmp_path: Path) -> None:
    """A wait ends at its limit while the server is away, and the next one is told again."""
    with Samba(tmp_path / "samba") as server:
        settings = smb_settings(server)
        ours = connect(settings, "S", ca_bundle=None)
        async with opened(ours):
            await ours.make_folder(MARKERS)
            waiting = asyncio.create_task(ours.await_change(MARKERS, 2.0))
            await asyncio.sleep(0.3)  # until it is under way at the server
            server.kill()
            await asyncio.wait_for(waiting, 3.0)
            begun = time.monotonic()
            await ours.await_change(MARKERS, 0.5)
            assert time.monotonic() - begun >= 0.4, "no storm while the server is away"
            server.start()
            theirs = connect(settings, "S", ca_bundle=None)
            async with opened(theirs):
                task = await armed(ours)
                await theirs.create(f"{MARKERS}/node", b"1")
                assert await task < _AT_ONCE


async def test_waiting_takes_no_thread_and_ends_with_the_connector(backend: Backend) -> None:
    """Sixteen waits leave room to work, and nobody hangs on a closed connector for longer than
    the wait's limit."""
    async with opened(backend.connect()) as ours:
        await ours.make_folder(MARKERS)
        waits = [asyncio.create_task(ours.await_change(MARKERS, 2.0)) for _ in range(16)]
        await asyncio.sleep(0.3)  # until they are under way
        begun = time.monotonic()
        await ours.create("conf/a", b"")
        assert time.monotonic() - begun < _AT_ONCE
    await asyncio.gather(*waits)
    assert time.monotonic() - begun < 2.5
