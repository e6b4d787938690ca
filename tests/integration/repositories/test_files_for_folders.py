"""A file where a folder has to be: told at once, and no cause for trying for ever."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from harmony_agent.core.errors import Unsupported
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import CONTROL, prepare_configuration
from harmony_agent.repositories.smb.connection import SmbConnection
from tests.integration.repositories.conftest import make_backend
from tests.integration.repositories.test_failures import opened

pytestmark = pytest.mark.server

_LIMIT = 5.0  # seconds; to try for ever ends at ten


@pytest.fixture(params=["file", "smb", "smb by smbprotocol"])
async def above(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Repository, Repository]]:
    """A repository with real folders, and one whose root is named `root` in it."""
    kind = request.param.split()[0]
    if kind != request.param:
        request.getfixturevalue("monkeypatch").setattr(SmbConnection, "calls", lambda _: None)
    backend = make_backend(kind, request, tmp_path_factory.mktemp("above"))
    below = backend.connect(f"{backend.system}/root")
    async with opened(backend.connect()) as repository, opened(below):
        yield repository, below


async def test_a_root_that_is_a_file_is_named(above: tuple[Repository, Repository]) -> None:
    """Nothing can be prepared there, and the message says why."""
    repository, below = above
    await repository.create("root", b"a file")
    async with asyncio.timeout(_LIMIT):
        with pytest.raises(Unsupported, match=r"a file .*where a folder has to be"):
            await prepare_configuration(below)


async def test_a_file_in_the_way_of_one_folder_concerns_no_other(
    above: tuple[Repository, Repository],
) -> None:
    """What is to go below it is refused as something that repository can't hold; all else works."""
    repository, _ = above
    await repository.create("hosts/a", b"a file")
    async with asyncio.timeout(_LIMIT):
        for path in ("hosts/a/b", "hosts/a/b/c/d"):
            with pytest.raises(Unsupported, match=r"a file .*where a folder has to be"):
                await repository.create(path, b"x")
            assert await repository.stat(path) is None
        await repository.create("hosts/c", b"x")


async def test_a_file_in_the_place_of_the_agents_own_folder_is_named(
    above: tuple[Repository, Repository],
) -> None:
    """The lock can't be made there: that is said, and not waited for."""
    repository, below = above
    await repository.create(f"root/{CONTROL}", b"a file")
    token = await repository.create("root/a", b"x")
    async with asyncio.timeout(_LIMIT):
        with pytest.raises(Unsupported, match=r"a file .*where a folder has to be"):
            await below.replace("a", b"y", token)
