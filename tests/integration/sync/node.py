"""Nodes that share a repository on one of the five backends, in this process or one of their own.

    python -m tests.integration.sync.node JOB

runs the configuration sync of the pickled, base64-encoded Node until killed.
"""

import asyncio
import base64
import contextlib
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harmony_agent.agent.opening import open_repository
from harmony_agent.core.errors import Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import prepare_configuration, prepare_runtime
from harmony_agent.settings import model
from harmony_agent.settings.model import SyncSettings
from harmony_agent.sync.configuration import ConfigurationSync
from harmony_agent.sync.runtime import RuntimeMirror
from tests.integration.sync.disk import running, tree

__all__ = ["QUICK", "Node", "beside_harmony", "configured", "joined", "living", "mirrored"]
__all__ += ["opened"]

_ATTEMPTS = 5
QUICK = SyncSettings(poll_interval=0.5, list_interval=2.0)
"""Intervals for tests that do not measure them."""


@dataclass
class Node:
    """One pod: the folder its home and state directory lie in, and where its repositories are."""

    folder: Path
    settings: model.Repository
    system: str
    sync: SyncSettings = field(default_factory=lambda: QUICK)

    def __post_init__(self) -> None:
        for folder in (self.home, self.state):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def home(self) -> Path:
        """Harmony's home."""
        return self.folder / "home"

    @property
    def state(self) -> Path:
        """The agent's state directory."""
        return self.folder / "state"

    @property
    def host(self) -> str:
        """The node's name."""
        return self.folder.name

    def write(self, path: str, data: bytes) -> None:
        """Harmony writes a file in place."""
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def files(self) -> dict[str, bytes]:
        """Harmony's files by path."""
        return tree(self.home)

    def connector(self) -> Repository:
        """The configuration repository, not opened yet."""
        return self._connect(self.system)

    def own_connector(self) -> Repository:
        """The runtime repository, not opened yet."""
        return self._connect(f"{self.system}/{self.host}")

    def _connect(self, folder: str) -> Repository:
        return connect(self.settings, folder, ca_bundle=None)


@contextlib.asynccontextmanager
async def opened(connector: Repository) -> AsyncIterator[Handle]:
    """A handle on the connector as the agent has one, opened."""
    handle = Handle("configuration", connector)
    for _ in range(_ATTEMPTS):
        try:
            await handle.open()
            break
        except Unavailable:  # the agent tries for ever; a busy server may drop a connection
            await asyncio.sleep(0.5)
    try:
        yield handle
    finally:
        await handle.close()


@contextlib.asynccontextmanager
async def configured(
    node: Node, health: Health | None = None, repository: Repository | None = None
) -> AsyncIterator[ConfigurationSync]:
    """Configuration sync as the agent builds it, on `repository` if one is given (and opened)."""
    async with contextlib.AsyncExitStack() as stack:
        health = health or Health()
        if repository is None:
            repository = await open_repository(
                "configuration", node.connector, prepare_configuration, health
            )
            stack.push_async_callback(repository.close)
        else:
            await prepare_configuration(repository)
        sync = ConfigurationSync(
            home=node.home,
            state_dir=node.state,
            repository=repository,
            host=node.host,
            settings=node.sync,
            health=health,
            harmony_runs=lambda: False,
        )
        stack.push_async_callback(sync.close)
        yield sync


@contextlib.asynccontextmanager
async def joined(
    node: Node, health: Health | None = None, repository: Repository | None = None
) -> AsyncIterator[ConfigurationSync]:
    """The same, its home taken on, and running beside Harmony."""
    async with configured(node, health, repository) as sync:
        await sync.take_on()
        async with running(sync):
            yield sync


@contextlib.asynccontextmanager
async def mirrored(node: Node, health: Health | None = None) -> AsyncIterator[RuntimeMirror]:
    """The runtime mirror as the agent builds it, its lease held."""
    health = health or Health()
    async with contextlib.AsyncExitStack() as stack:
        repository = await open_repository("runtime", node.own_connector, prepare_runtime, health)
        stack.push_async_callback(repository.close)
        mirror = RuntimeMirror(
            home=node.home,
            state_dir=node.state,
            repository=repository,
            settings=node.sync,
            health=health,
            harmony_runs=lambda: False,
            may_write=lambda: True,
        )
        stack.push_async_callback(mirror.close)
        yield mirror


@contextlib.asynccontextmanager
async def beside_harmony(node: Node, health: Health | None = None) -> AsyncIterator[None]:
    """Both sides of a node: its home taken on, then kept in step."""
    async with configured(node, health) as sync, mirrored(node, health) as mirror:
        await asyncio.gather(sync.take_on(), mirror.take_on())
        async with running(sync), running(mirror):
            yield


@contextlib.contextmanager
def living(node: Node, *under: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The node's configuration sync in a process of its own, started by the command `under` if one
    is given; killed with -9 at the end."""
    job = base64.b64encode(pickle.dumps(node)).decode()
    with (node.folder / "agent.log").open("ab") as log:
        process = subprocess.Popen(
            [*under, sys.executable, "-m", "tests.integration.sync.node", job],
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _live(node: Node) -> None:
    async with joined(node):
        (node.folder / "joined").touch()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_live(pickle.loads(base64.b64decode(sys.argv[1]))))
