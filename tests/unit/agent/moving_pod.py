"""A node's runtime folder in one of several places, with its real lease, mirror and renewal."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson

from harmony_agent.agent.renewal import Renewal
from harmony_agent.agent.tenants import RuntimeTenant
from harmony_agent.lifecycle.health import Condition, Health
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.layout import CONTROL, LEASE, prepare_runtime
from harmony_agent.repositories.lease import Lease
from harmony_agent.settings.model import S3Repository, SyncSettings
from harmony_agent.settings.secret import SecretStr
from harmony_agent.sync.runtime import RuntimeMirror
from harmony_agent.sync.side import Tools
from tests.unit.sync.bench import Bench, InlineWorkers
from tests.unit.sync.memory_repository import MemoryRepository

__all__ = ["MovingPod", "other_owner", "secret"]

_ME = "me"
_WRITES = ("create", "replace", "delete")
_tokens = itertools.count(1)


def secret(place: str, key: str = "first key") -> S3Repository:
    """A secret that leads to `place`."""
    return S3Repository(bucket=place, access_key="agent", secret_access_key=SecretStr(key))


class _Place(MemoryRepository):
    """A place, whose tokens are its own. It notes what is written without the lease."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._tokens = _tokens
        self.name = name
        self.trespasses: list[tuple[str, str]] = []
        self.before = self._check_owner

    @property
    def location(self) -> str:
        """See Repository."""
        return f"memory://{self.name}"

    async def make_folder(self, path: str) -> None:
        """See Repository."""
        await self._enter("make_folder", path or CONTROL)

    def owner(self) -> str | None:
        """Who holds the lease there."""
        content = self.files.get(LEASE)
        return None if content is None else orjson.loads(content.data)["owner"]

    def listings(self) -> int:
        """How often folders of Harmony's were listed there."""
        return sum(what == "list" and path != CONTROL for what, path in self.calls)

    def _check_owner(self, operation: str, path: str) -> None:
        ours = path == LEASE or path.startswith(f"{CONTROL}/probe-")
        if operation in _WRITES and not ours and self.owner() != _ME:
            self.trespasses.append((operation, path))


class MovingPod:
    """Starts at the place `a`; `rotate` leads it elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.places = {name: _Place(name) for name in "abc"}
        self.bench = Bench(folder)
        self.health = Health(clock=asyncio.get_running_loop().time)
        self.handle = Handle("runtime", self.places["a"], clock=asyncio.get_running_loop().time)
        self.tenant = RuntimeTenant()
        self.renewal = Renewal(
            "runtime",
            self.handle,
            secret("a"),
            connector=lambda wanted: self.places[wanted.bucket],  # type: ignore[union-attr]  # S3
            prepare=prepare_runtime,
            tenant=self.tenant,
            health=self.health,
        )
        self.lease = Lease(
            self.handle,
            _ME,
            "pod of me",
            trusting=lambda: self.handle.conditional_writes,
            clock=asyncio.get_running_loop().time,
        )
        self.tenant.lease = self.lease
        self.mirror = RuntimeMirror(
            home=self.bench.home,
            state_dir=self.bench.state,
            repository=self.handle,
            settings=SyncSettings(),
            health=self.health,
            harmony_runs=lambda: True,
            may_write=self.lease.may_write,
            tools=Tools(
                InlineWorkers(),
                InlineWorkers(),
                self.bench.hints,
                asyncio.get_running_loop().time,
            ),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Lease, mirror and moves go on while the block runs, the first pull done."""
        tasks = [asyncio.create_task(self.lease.run(self.health))]
        try:
            await self.lease.owned()
            self.tenant.mirror = self.mirror
            await self.mirror.take_on()
            tasks.append(asyncio.create_task(self.mirror.run()))
            tasks.append(asyncio.create_task(self.tenant.settle()))
            yield
            for task in tasks:
                assert not task.done(), task.exception()
        finally:
            await self.renewal.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.mirror.close()

    def rotate(self, place: str, key: str = "first key") -> None:
        """The secret is rotated."""
        self.renewal.want(secret(place, key))

    def condition(self, name: str) -> Condition:
        """A line of /readyz."""
        return next(c for c in self.health.conditions() if c.name == name)

    def trespasses(self) -> list[tuple[str, str]]:
        """What was written anywhere without the lease of that place."""
        return [one for place in self.places.values() for one in place.trespasses]


@contextlib.contextmanager
def _task(lease: Lease) -> Iterator[None]:
    task = asyncio.create_task(lease.run(Health(clock=asyncio.get_running_loop().time)))
    try:
        yield
    finally:
        task.cancel()


@contextlib.asynccontextmanager
async def other_owner(place: MemoryRepository) -> AsyncIterator[None]:
    """Another node holds the lease at `place` while the block runs, and gives it back."""
    clock = asyncio.get_running_loop().time
    lease = Lease(place, "other", "pod of another", clock=clock)
    with _task(lease):
        await lease.owned()
        yield
    await lease.release()
