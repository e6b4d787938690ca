"""A rotated secret of the configuration repository: another repository is never mixed with this."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harmony_agent.agent.renewal import Renewal
from harmony_agent.agent.tenants import ConfigurationTenant
from harmony_agent.lifecycle.health import Level
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import REPOSITORY_ID
from harmony_agent.settings.model import S3Repository
from harmony_agent.settings.secret import SecretStr
from harmony_agent.sync.configuration import ConfigurationSync
from tests.unit.sync.bench import Bench, running
from tests.unit.sync.memory_repository import MemoryRepository

pytestmark = pytest.mark.looptime


def secret(place: str, key: str = "first key") -> S3Repository:
    """A secret that leads to `place`."""
    return S3Repository(bucket=place, access_key="agent", secret_access_key=SecretStr(key))


async def _prepare(_: Repository) -> None:
    """A repository in memory needs no folders."""


@dataclass
class Pod:
    """A node whose configuration repository starts as `a`."""

    bench: Bench
    places: dict[str, MemoryRepository] = field(
        default_factory=lambda: {"a": MemoryRepository(), "b": MemoryRepository()}
    )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Renewal]:
        """Its sync and its renewal while the block runs."""
        handle = Handle("configuration", self.places["a"], clock=asyncio.get_running_loop().time)
        tenant = ConfigurationTenant()
        renewal = Renewal(
            "configuration",
            handle,
            secret("a"),
            connector=lambda wanted: self.places[wanted.bucket],  # type: ignore[union-attr]  # S3
            prepare=_prepare,
            tenant=tenant,
            health=self.bench.health,
        )
        self.bench.repository = handle  # type: ignore[assignment]
        async with self.bench.configuration() as sync, running(sync):
            tenant.job = sync
            await asyncio.sleep(10)
            yield renewal
            await renewal.close()

    async def found(self, place: str) -> ConfigurationSync:
        """Another system fills `place`."""
        other = Bench(self.bench.home.parent / "other", self.places[place])
        other.write("hosts/other.xml", "<other/>")
        async with other.configuration() as sync:
            await sync.take_on()
        return sync


async def test_another_repository_gets_nothing_and_gives_nothing(tmp_path: Path) -> None:
    """From the first moment on: neither an edit made here goes there, nor anything from there
    arrives; it is told until somebody accepts it. On the way back all goes on."""
    pod = Pod(Bench(tmp_path / "pod"))
    pod.bench.write("hosts/ours.xml", "<ours/>")
    await pod.found("b")
    there = pod.places["b"].owned()
    async with pod.running() as renewal:
        renewal.want(secret("b"))
        await asyncio.sleep(1)
        pod.bench.write("hosts/new.xml", "<new/>")
        pod.bench.write("hosts/ours.xml", "<edited/>")
        await asyncio.sleep(900)
        assert pod.places["b"].owned() == there
        assert "hosts/other.xml" not in pod.bench.owned()
        assert pod.bench.condition().level is Level.TROUBLE
        assert "is not the repository this home was pulled from" in pod.bench.condition().message
        renewal.want(secret("a"))
        await asyncio.sleep(90)
        assert pod.places["a"].owned() == pod.bench.owned()
        assert pod.bench.condition().level is Level.OK


async def test_an_empty_repository_is_not_filled_by_itself(tmp_path: Path) -> None:
    """It may be a mistake in the secret."""
    pod = Pod(Bench(tmp_path / "pod"))
    pod.bench.write("hosts/ours.xml", "<ours/>")
    async with pod.running() as renewal:
        renewal.want(secret("b"))
        await asyncio.sleep(1)
        pod.bench.write("hosts/new.xml", "<new/>")
        await asyncio.sleep(900)
        assert pod.places["b"].owned() == {}
        assert "its id is missing" in pod.bench.condition().message


async def test_an_exchange_waits_for_the_pass_that_is_under_way(tmp_path: Path) -> None:
    """No part of it goes to the other repository."""
    pod = Pod(Bench(tmp_path / "pod"))
    await pod.found("b")
    there = pod.places["b"].owned()
    async with pod.running() as renewal:
        pod.places["a"].delay = 1.0
        for number in range(100):
            pod.bench.write(f"hosts/{number}.xml", f"<host{number}/>")
        await asyncio.sleep(2)
        assert not pod.places["a"].owned().keys() >= pod.bench.owned().keys()
        renewal.want(secret("b"))
        await asyncio.sleep(900)
        assert renewal.used == secret("b")
        assert pod.places["b"].owned() == there


async def test_a_first_pull_is_of_one_repository(tmp_path: Path) -> None:
    """The secret is rotated in the middle of it: it ends where it began, and then the other
    repository is refused."""
    pod = Pod(Bench(tmp_path / "pod"))
    await pod.found("b")
    image = Bench(tmp_path / "image", pod.places["a"])
    for number in range(100):
        image.write(f"hosts/{number}.xml", f"<host{number}/>")
    async with image.configuration() as sync:
        await sync.take_on()
    pod.places["a"].delay = 3.0
    async with pod.running() as renewal:
        while not pod.bench.owned():
            await asyncio.sleep(0.1)
        renewal.want(secret("b"))
        await asyncio.sleep(900)
        assert renewal.used == secret("b")
        assert pod.bench.owned() == image.owned()
        assert "is not the repository this home was pulled from" in pod.bench.condition().message


async def test_new_credentials_for_the_same_repository_change_nothing(tmp_path: Path) -> None:
    """Nothing is told, nothing is listed anew, and edits travel on."""
    pod = Pod(Bench(tmp_path / "pod"))
    pod.bench.write("hosts/ours.xml", "<ours/>")
    async with pod.running() as renewal:
        listings = pod.places["a"].calls.count(("list", "hosts"))
        renewal.want(secret("a", "second key"))
        await asyncio.sleep(60)
        assert renewal.used == secret("a", "second key")
        assert pod.places["a"].calls.count(("list", "hosts")) == listings
        pod.bench.write("hosts/ours.xml", "<edited/>")
        await asyncio.sleep(5)
        assert pod.places["a"].owned() == pod.bench.owned()
        assert REPOSITORY_ID in pod.places["a"].files
