"""Three agents that are killed again and again, and a thousand edits: nothing is lost."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from harmony_agent.repositories.interface import Repository
from harmony_agent.settings.model import SyncSettings
from tests.integration.sync.conftest import MakeNodes
from tests.integration.sync.node import Node, living, opened
from tests.integration.sync.world import World, stored

pytestmark = [pytest.mark.server, pytest.mark.long]

OPERATIONS = int(os.environ.get("CONVERGENCE_OPERATIONS", "1000"))
KILLED_EVERY = 60  # operations
STRANGER = 0.05  # share of operations straight in the repository
BUSY = 20.0  # seconds for a thousand operations
REST = 100.0  # seconds; a delete straight in the repository needs two listings, 30 s apart

# Deletes that pile up while an agent is down must not trip the guard: it is not the subject here.
SYNC = SyncSettings(poll_interval=0.5, list_interval=5.0, max_delete=1.0)


async def eventually(holds: Callable[[], Awaitable[bool]], limit: float) -> bool:
    """Whether it holds within `limit` seconds."""
    end = asyncio.get_running_loop().time() + limit
    while not await holds():
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(0.5)
    return True


@pytest.mark.parametrize("kind", ["s3", "file"])
async def test_nothing_is_lost_whatever_is_killed(kind: str, make_nodes: MakeNodes) -> None:
    """Homes and repository converge, and every content that was ever written is current, was
    seen by whoever replaced or deleted it, or is kept where a person finds it."""
    seed = int(os.environ.get("CONVERGENCE_SEED", random.randrange(10**9)))
    nodes = make_nodes(kind, 3, sync=SYNC)
    world = World(nodes, random.Random(seed))
    async with opened(nodes[0].connector()) as repository:
        await work(world, repository)
        agents = ExitStack()
        with agents:
            for node in nodes:
                agents.enter_context(living(node))
            in_step = await eventually(lambda: converged(nodes, repository), REST)
        remaining = await world.remaining(repository)
        story = Path(nodes[0].folder.parent / "story.txt")
        story.write_text("\n".join(world.log))
        assert in_step, f"seed {seed}: {await difference(nodes, repository)} ({story})"
        assert world.lost(remaining) == [], f"seed {seed} ({story})"


async def work(world: World, repository: Repository) -> None:
    """A thousand operations while agents live and die."""
    agents = [ExitStack() for _ in world.nodes]
    try:
        for node, agent in zip(world.nodes, agents, strict=True):
            agent.enter_context(living(node))
        await eventually(lambda: _all_joined(world.nodes), 30)
        for number in range(1, OPERATIONS + 1):
            if number % KILLED_EVERY == 0:
                victim = world.dice.randrange(len(agents))
                await asyncio.to_thread(agents[victim].close)
                agents[victim].enter_context(living(world.nodes[victim]))
                world.log.append(f"killed {world.nodes[victim].host}")
            if world.dice.random() < STRANGER:
                await world.stranger(repository)
            else:
                world.happens(world.dice.choice(world.nodes))
            await asyncio.sleep(world.dice.uniform(0, 2 * BUSY / 1000))
    finally:
        for agent in agents:
            agent.close()


async def _all_joined(nodes: list[Node]) -> bool:
    return all((node.folder / "joined").exists() for node in nodes)


async def converged(nodes: list[Node], repository: Repository) -> bool:
    """Whether all homes hold what the repository holds."""
    homes = [node.files() for node in nodes]
    return all(home == homes[0] for home in homes) and homes[0] == await stored(repository)


async def difference(nodes: list[Node], repository: Repository) -> str:
    """Where the first few files differ."""
    trees = {node.host: node.files() for node in nodes} | {"repository": await stored(repository)}
    paths = sorted({path for files in trees.values() for path in files})
    lines = [
        f"{path}: { {where: files.get(path) for where, files in trees.items()} }"
        for path in paths
        if len({files.get(path) for files in trees.values()}) > 1
    ]
    return "; ".join(lines[:5])
