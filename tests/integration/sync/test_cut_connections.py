"""The connection breaks in the middle of the work, again and again: nothing is lost or half."""

import asyncio

import pytest

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
    filled,
    nothing_spoiled,
)
from tests.integration.sync.node import beside_harmony

pytestmark = [pytest.mark.server, LEFT_OPEN, pytest.mark.parametrize("kind", SERVERS)]

# Bytes between cuts: in the middle of small files, then of the large one, which is more than all.
CUTS = (40_000, 100_000, LARGE // 4, LARGE // 4)


async def test_a_push_that_is_cut_arrives_whole(pods: Pods) -> None:
    """All that Harmony wrote stands in the repository as it is, each file once, and at no moment
    did half of one."""
    node = pods.node("first")
    async with pods.straight() as repository:
        witness = Witness(repository, [node])
        async with beside_harmony(node), witness.looking():
            pods.wire.cut_after(*CUTS)
            fill(node)
            await arrival(repository)
    assert pods.wire.cuts == len(CUTS)
    assert witness.half == []
    await nothing_spoiled(pods, [node])


async def test_a_first_pull_that_is_cut_ends_whole(pods: Pods) -> None:
    """A pod that lost its disk gets all of it back, and at no moment half of a file."""
    await filled(pods)
    node = pods.node("again")
    async with pods.straight() as repository:
        witness = Witness(repository, [node])
        pods.wire.cut_after(*CUTS)
        async with witness.looking(), asyncio.timeout(LIMIT), beside_harmony(node):
            assert node.files() == FILES
    assert pods.wire.cuts == len(CUTS)
    assert witness.half == []
    await nothing_spoiled(pods, [node])
