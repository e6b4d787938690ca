"""A home, a repository in memory and the two sides between them, in virtual time."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from harmony_agent.core.threads import Workers
from harmony_agent.lifecycle.health import Condition, Health
from harmony_agent.settings.model import SyncSettings
from harmony_agent.sync.configuration import ConfigurationSync
from harmony_agent.sync.home.watch import Hints
from harmony_agent.sync.runtime import RuntimeMirror
from harmony_agent.sync.side import Tools
from tests.unit.sync.memory_repository import MemoryRepository

__all__ = ["Bench", "InlineWorkers", "ManualHints", "quick_folder", "running", "settled", "take_on"]

P = ParamSpec("P")
T = TypeVar("T")


class InlineWorkers(Workers):
    """Runs calls at once in the event loop: virtual time would run away from a thread."""

    def __init__(self) -> None:
        super().__init__("inline", 1)

    async def run(
        self, limit: float, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `call` here."""
        await asyncio.sleep(0)
        return call(*args, **kwargs)


class ManualHints:
    """Hints that a test gives by `give`."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.waits = 0  # how often the loop came by
        self._woken = asyncio.Event()
        self._paths: set[str] = set()

    def give(self, *paths: str) -> None:
        """These have changed."""
        self._paths.update(paths)
        self._woken.set()

    def forget(self, *paths: str) -> None:
        """The hints about these get lost."""
        self._paths.difference_update(paths)

    def enter(self, folder: str) -> None:
        """See HintSource."""

    async def wait(self, limit: float) -> Hints:
        """See HintSource."""
        self.waits += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._woken.wait()
        self._woken.clear()
        paths, self._paths = self._paths, set()
        return Hints(frozenset(paths))

    def wake(self) -> None:
        """See HintSource."""
        self._woken.set()

    def close(self) -> None:
        """See HintSource."""


class Bench:
    """One node: its home and state directory, and the repository it shares with others."""

    def __init__(
        self, folder: Path, repository: MemoryRepository | None = None, *, host: str = ""
    ) -> None:
        """`host` is the node's name; the folder's, if none is given."""
        self.host = host or folder.name
        self.home = folder / "home"
        self.state = folder / "state"
        self.home.mkdir(parents=True)
        self.state.mkdir()
        self.repository = repository or MemoryRepository()
        self.harmony_runs = False
        self.may_write = True
        self.health = Health()
        self.hints = ManualHints()

    def write(self, path: str, text: str) -> None:
        """Harmony (or the image) writes a file."""
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        self.hints.give(path)

    def remove(self, path: str) -> None:
        """Harmony deletes a file."""
        (self.home / path).unlink()
        self.hints.give(path)

    def lose_base(self) -> None:
        """What the agent remembers of its files is gone, as with a damaged state directory."""
        for path in self.state.glob("sync-*"):
            path.unlink()

    def owned(self) -> dict[str, bytes]:
        """Content of home by path, without the agent's own folder."""
        return _tree(self.home)

    def replaced(self) -> dict[str, bytes]:
        """What was kept in the state directory, by path."""
        return _tree(self.state / "replaced")

    def section(self, side: str = "configuration") -> dict[str, Any]:
        """What /api/status shows."""
        return dict(self.health.sections[side]())

    def condition(self, side: str = "configuration") -> Condition:
        """The side's line of /readyz?verbose."""
        return next(c for c in self.health.conditions() if c.name == side)

    @contextlib.asynccontextmanager
    async def configuration(self, **settings: Any) -> AsyncIterator[ConfigurationSync]:
        """An agent's configuration sync, closed at the end."""
        sync = ConfigurationSync(
            home=self.home,
            state_dir=self.state,
            repository=self.repository,
            host=self.host,
            settings=SyncSettings(**settings),
            health=self.health,
            harmony_runs=lambda: self.harmony_runs,
            tools=self._tools(),
        )
        try:
            yield sync
        finally:
            await sync.close()

    @contextlib.asynccontextmanager
    async def runtime(self, **settings: Any) -> AsyncIterator[RuntimeMirror]:
        """An agent's runtime mirror, closed at the end."""
        mirror = RuntimeMirror(
            home=self.home,
            state_dir=self.state,
            repository=self.repository,
            settings=SyncSettings(**settings),
            health=self.health,
            harmony_runs=lambda: self.harmony_runs,
            may_write=lambda: self.may_write,
            tools=self._tools(),
        )
        try:
            yield mirror
        finally:
            await mirror.close()

    def _tools(self) -> Tools:
        loop = asyncio.get_running_loop()
        self.hints = ManualHints()
        return Tools(InlineWorkers(), InlineWorkers(), self.hints, loop.time)


def quick_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder in memory where the machine has one: random histories sync a lot."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)


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


@contextlib.asynccontextmanager
async def settled(bench: Bench, **settings: Any) -> AsyncIterator[ConfigurationSync]:
    """An agent's configuration sync that has taken its home on and runs while the block does."""
    async with bench.configuration(**settings) as sync, running(sync):
        await asyncio.sleep(5)
        yield sync


async def take_on(bench: Bench) -> None:
    """An agent takes its home on, and ends."""
    async with bench.configuration() as sync:
        await sync.take_on()


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".harmony-agent" not in path.parts
    }
