"""A home, a state directory and a file repository on disk."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harmony_agent.core.durable import is_temporary
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.file.connector import FileConnector
from harmony_agent.repositories.layout import prepare_configuration, prepare_runtime
from harmony_agent.settings.model import FileRepository, SyncSettings
from harmony_agent.sync.configuration import ConfigurationSync
from harmony_agent.sync.runtime import RuntimeMirror


@dataclass(frozen=True, slots=True)
class Disk:
    """Where everything lies."""

    home: Path
    state: Path
    store: Path

    def stored(self) -> dict[str, bytes]:
        """Content of the repository by path, without the agent's own folder."""
        return tree(self.store)

    def write(self, path: str, data: bytes) -> None:
        """Harmony writes a file in place."""
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def tree(folder: Path) -> dict[str, bytes]:
    """Content by path of all files, without the agent's own folders and temporary files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not (".harmony-agent" in relative.parts or is_temporary(path.name) or path.is_dir()):
            with contextlib.suppress(FileNotFoundError):  # deleted while we look
                found[str(relative)] = path.read_bytes()
    return found


def make_disk(folder: Path) -> Disk:
    """Empty folders below `folder`."""
    made = Disk(folder / "home", folder / "state", folder / "store" / "System1")
    for made_folder in (made.home, made.state, made.store.parent):
        made_folder.mkdir(parents=True)
    return made


async def eventually(condition: Callable[[], bool], limit: float = 20.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.02)


def connector(disk: Disk) -> FileConnector:
    """The file repository on `disk`."""
    settings = FileRepository(root=PurePosixPath(disk.store.parent))
    return FileConnector(settings, disk.store.name)


@contextlib.asynccontextmanager
async def configuration(
    disk: Disk, health: Health | None = None
) -> AsyncIterator[ConfigurationSync]:
    """Configuration sync as the agent builds it."""
    repository = connector(disk)
    await repository.open()
    await prepare_configuration(repository)
    sync = ConfigurationSync(
        home=disk.home,
        state_dir=disk.state,
        repository=repository,
        host=disk.home.parent.name,
        settings=SyncSettings(),
        health=health or Health(),
        harmony_runs=lambda: False,
    )
    try:
        yield sync
    finally:
        await sync.close()
        await repository.close()


@contextlib.asynccontextmanager
async def runtime(disk: Disk, health: Health | None = None) -> AsyncIterator[RuntimeMirror]:
    """The runtime mirror as the agent builds it, its lease held."""
    repository = connector(disk)
    await repository.open()
    await prepare_runtime(repository)
    mirror = RuntimeMirror(
        home=disk.home,
        state_dir=disk.state,
        repository=repository,
        settings=SyncSettings(),
        health=health or Health(),
        harmony_runs=lambda: False,
        may_write=lambda: True,
    )
    try:
        yield mirror
    finally:
        await mirror.close()
        await repository.close()


@contextlib.asynccontextmanager
async def running(side: ConfigurationSync | RuntimeMirror) -> AsyncIterator[None]:
    """The side's `run` goes on while the block runs."""
    task = asyncio.create_task(side.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
