"""The server dies in the middle of the work and comes back: everything arrives, nothing is lost."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.servers.azurite import Azurite
from tests.integration.repositories.backends import SERVERS
from tests.integration.sync.by_wire import (
    FILES,
    LARGE,
    LEFT_OPEN,
    LIMIT,
    Pods,
    Witness,
    arrival,
    fill,
    nothing_spoiled,
    pods_by_wire,
)
from tests.integration.sync.disk import eventually
from tests.integration.sync.node import beside_harmony

pytestmark = [pytest.mark.server, LEFT_OPEN]


@pytest.fixture
def azurite(tmp_path: Path) -> Iterator[Azurite]:
    """One that remembers what it acknowledged when it is killed; the others do anyway."""
    with Azurite(tmp_path / "azurite", durable=True) as server:
        yield server


@pytest.fixture(params=SERVERS)
def pods(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pods]:
    """Pods that reach their server by a wire."""
    with pods_by_wire(request.param, request, tmp_path) as made:
        yield made


async def crash(pods: Pods) -> None:
    """Kill the server once the wire is silent, in the middle of a body, and start it again."""
    server = pods.backend.server
    assert server is not None
    await eventually(lambda: pods.wire.is_silent, LIMIT)
    await asyncio.to_thread(server.restart)
    pods.wire.heal()


async def test_what_a_dying_server_interrupts_is_done_when_it_is_back(pods: Pods) -> None:
    """It dies in the middle of a large file that is pushed, and again in the middle of the first
    pull of a pod that lost its disk: both end whole."""
    first, again = pods.node("first"), pods.node("again")
    async with beside_harmony(first):
        pods.wire.fall_silent(after=LARGE // 2)
        fill(first)
        await crash(pods)
        async with pods.straight() as repository:
            await arrival(repository)
    pods.wire.fall_silent(after=LARGE // 2)
    dying = asyncio.create_task(crash(pods))
    async with asyncio.timeout(LIMIT), beside_harmony(again):
        await dying
        assert again.files() == FILES
    async with pods.straight() as repository:
        witness = Witness(repository, [first, again])
        async with witness.looking():
            pass
        assert witness.half == []
    await nothing_spoiled(pods, [first, again])
