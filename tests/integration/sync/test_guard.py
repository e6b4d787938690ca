"""What looks like everything deleted, on real servers: nothing is, and a person is told."""

import asyncio
from pathlib import Path

import pytest

from harmony_agent.lifecycle.health import Health, Level
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.interface import Entry, Repository
from harmony_agent.repositories.layout import MARKERS
from tests.integration.repositories.backends import KINDS
from tests.integration.sync.conftest import MakeNodes
from tests.integration.sync.disk import eventually
from tests.integration.sync.node import Node, configured, joined, opened
from tests.integration.sync.world import stored

pytestmark = pytest.mark.server

FILES = {f"certs/{number}.cer": b"certificate %d" % number for number in range(60)}


def fill(node: Node) -> None:
    """Harmony has written these."""
    for path, data in FILES.items():
        node.write(path, data)


async def wipe(repository: Repository) -> None:
    """Somebody deletes everything in the repository."""
    await asyncio.gather(*(repository.delete(e.path, e.token) for e in await repository.list()))


def is_alarmed(health: Health) -> bool:
    """Whether the configuration is in trouble, which does not take the agent out of readiness."""
    levels = [c.level for c in health.conditions() if "configuration" in c.name]
    return Level.TROUBLE in levels and Level.FAILED not in levels


@pytest.mark.parametrize("kind", KINDS)
async def test_an_emptied_repository_empties_no_home(kind: str, make_nodes: MakeNodes) -> None:
    """Everything is gone there, the repository's id as well: home stays whole, the agent stays
    ready and says so; accepted by a person, home fills the repository again."""
    (node,) = make_nodes(kind)
    fill(node)
    health = Health()
    async with opened(node.connector()) as repository:
        async with joined(node, health) as sync:
            assert await stored(repository) == FILES
            await wipe(repository)
            await eventually(lambda: is_alarmed(health))
            assert node.files() == FILES
            assert await stored(repository) == {}
            await sync.once(accept_deletes=True)
            assert await stored(repository) == FILES
        assert node.files() == FILES


class HalfBlind(Handle):
    """A handle whose listings leave out every second file once `is_blind`, without an error."""

    is_blind = False

    async def list(self, folder: str = "") -> list[Entry]:
        """See Repository."""
        found = await super().list(folder)
        return found[::2] if self.is_blind and folder != MARKERS else found


async def test_a_truncated_listing_deletes_nothing(make_nodes: MakeNodes) -> None:
    """Half of the files are missing from every listing: no home loses one."""
    (node,) = make_nodes("s3")
    fill(node)
    health = Health()
    handle = HalfBlind("configuration", node.connector())
    await handle.open()
    try:
        async with configured(node, health, handle) as sync:
            await sync.take_on()
            handle.is_blind = True
            await sync.once()
            assert is_alarmed(health)
            await sync.once(accept_deletes=True)  # even then each is asked for by name
            assert node.files() == FILES
            handle.is_blind = False
            assert await stored(handle) == FILES
    finally:
        await handle.close()


async def test_a_home_whose_files_vanished_takes_none_from_the_repository(
    make_nodes: MakeNodes, tmp_path: Path
) -> None:
    """Home is another volume all at once: nothing is concluded from its emptiness."""
    (node,) = make_nodes("smb")
    fill(node)
    health = Health()
    async with joined(node, health), opened(node.connector()) as repository:
        node.home.rename(tmp_path / "away")
        node.home.mkdir()
        await eventually(lambda: is_alarmed(health), limit=90)
        assert await stored(repository) == FILES
        node.home.rmdir()
        (tmp_path / "away").rename(node.home)
        node.write("certs/after.cer", b"after")
        async with asyncio.timeout(90):
            while "certs/after.cer" not in await stored(repository):
                await asyncio.sleep(0.2)
    assert node.files() == FILES | {"certs/after.cer": b"after"}
