"""Change markers of nodes that are gone for good, on a real server."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import MARKERS
from harmony_agent.sync.markers.bulletin import Bulletin
from tests.integration.repositories.backends import Backend
from tests.integration.repositories.conftest import make_backend

pytestmark = pytest.mark.server

DAY = 86_400.0


@contextlib.asynccontextmanager
async def opened(backend: Backend) -> AsyncIterator[Repository]:
    """One node's connection."""
    connector = backend.connect()
    await connector.open()
    try:
        yield connector
    finally:
        await connector.close()


async def look(node: Bulletin) -> None:
    """See the markers, and write the own one if that is due."""
    await node.before_listing()
    if node.own.due is not None:
        await node.own.publish()


async def markers(repository: Repository) -> set[str]:
    """Whose markers there are."""
    return {entry.path.removeprefix(f"{MARKERS}/") for entry in await repository.list(MARKERS)}


@pytest.mark.parametrize("kind", ["file", "s3"])
async def test_only_the_marker_of_the_node_that_is_gone_is_deleted(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two nodes live on for a month and a day, a third does not: they renew their markers and
    delete its one, both at the same time; when it comes back it is heard."""
    backend = make_backend(kind, request, tmp_path_factory.mktemp("volume"))
    now = [0.0]
    async with opened(backend) as one, opened(backend) as other, opened(backend) as third:
        first, second, gone = (
            Bulletin(repository, host, 5.0, clock=lambda: now[0])
            for repository, host in ((one, "first"), (other, "second"), (third, "gone"))
        )
        for node in (first, second, gone):
            await look(node)
        for _ in range(31):
            assert await markers(one) == {"first", "second", "gone"}
            now[0] += DAY + 60
            await look(first)
            await look(second)
            await first.purge()
        await look(first)
        await first.purge()
        await second.purge()
        assert await markers(one) == {"first", "second"}
        first.take()
        gone.own.tell({"conf/a": False})
        await look(gone)
        await look(first)
        assert first.take().named == {"conf/a": False}
        await gone.purge()
        assert await markers(one) == {"first", "second", "gone"}
