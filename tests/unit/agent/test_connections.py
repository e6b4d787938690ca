"""All that goes to the runtime repository goes to one place, also while a secret is rotated."""

import asyncio
from pathlib import Path

from fixtures.demo_backends import secret
from harmony_agent.agent.connections import RUNTIME, Connections
from harmony_agent.agent.tenants import RuntimeTenant
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.layout import prepare_runtime
from harmony_agent.settings.load import load
from harmony_agent.settings.model import Settings
from tests.system.agent_process import Layout


def settings(layout: Layout, root: Path) -> Settings:
    """The node's settings with a secret that leads to this folder."""
    layout.write_secrets(cleo_runtime_repo=secret("file", rootPath=root))
    return load(layout.environment())[0]


async def _visited(connections: Connections) -> str:
    async with connections.visit(None) as repository:
        return repository.location


async def test_visits_go_where_this_nodes_folder_is(tmp_path: Path) -> None:
    """A rotated secret counts for other nodes' folders once it is in use for one's own: what is
    told there of parked events is about that place."""
    layout = Layout(tmp_path / "node")
    one, another = tmp_path / "one", tmp_path / "another"
    one.mkdir()
    connections = Connections(settings(layout, one), Health())
    handle = await connections.open(RUNTIME, prepare_runtime, RuntimeTenant())
    try:
        connections.rotate(settings(layout, another))  # there is no such folder yet
        assert await _visited(connections) == str(one / layout.system)
        another.mkdir()
        async with asyncio.timeout(60):
            while str(another) not in handle.location:
                await asyncio.sleep(0.05)
        assert await _visited(connections) == str(another / layout.system)
    finally:
        await connections.close()
