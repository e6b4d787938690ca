"""Rotated settings are tried until they work; the old ones are in use until then."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from harmony_agent.agent.renewal import Renewal
from harmony_agent.core.errors import Refused
from harmony_agent.lifecycle.health import Condition, Health, Level
from harmony_agent.repositories.handle import Handle
from harmony_agent.settings.model import SmbRepository
from harmony_agent.settings.secret import SecretStr
from tests.unit.repositories.memory import MemoryRepository

pytestmark = pytest.mark.looptime


def settings(password: str) -> SmbRepository:
    """Settings with this password."""
    return SmbRepository(server="server", share="share", user="agent", password=SecretStr(password))


@dataclass
class Server:
    """Knows some passwords; each connection is a repository in memory of its own."""

    passwords: set[str]
    made: dict[str, MemoryRepository] = field(default_factory=dict)
    attempts: int = 0

    def connector(self, wanted: SmbRepository) -> MemoryRepository:
        """A connector that opens if its password is known."""
        password = wanted.password.get_secret_value()

        def check(operation: str) -> None:
            if operation == "open":
                self.attempts += 1
                if password not in self.passwords:
                    raise Refused("wrong password")

        self.made[password] = MemoryRepository()
        self.made[password].before = check
        return self.made[password]


@dataclass
class Bench:
    """A renewal whose repository was opened with the password `old`."""

    server: Server
    handle: Handle
    renewal: Renewal
    health: Health

    async def used(self) -> str:
        """The password of the connection that is in use."""
        await self.handle.make_folder("asked")
        return next(p for p, made in self.server.made.items() if "asked" in made.storage.folders)

    def condition(self) -> Condition | None:
        """The secret's line of /readyz."""
        return next((c for c in self.health.conditions() if c.name == "runtime-secret"), None)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """An open repository, and its renewal."""
    server = Server({"old"})
    handle = Handle("runtime", server.connector(settings("old")))
    health = Health()
    renewal = Renewal("runtime", handle, settings("old"), server.connector, health)  # type: ignore[arg-type]  # these settings alone
    yield Bench(server, handle, renewal, health)
    await renewal.close()


async def test_a_secret_that_works_is_used_at_once(bench: Bench) -> None:
    """The connection is another, the old one is closed, and all is well."""
    bench.server.passwords.add("new")
    bench.renewal.want(settings("new"))
    await asyncio.sleep(0.1)
    assert await bench.used() == "new"
    assert "close" in bench.server.made["old"].operations
    assert bench.condition() == Condition("runtime-secret", Level.OK)


async def test_a_secret_that_comes_before_the_server_knows_it_is_used_once_it_does(
    bench: Bench,
) -> None:
    """Told until then, and the old connection stays in use; asked a few times a minute at most."""
    bench.renewal.want(settings("new"))
    await asyncio.sleep(3600)
    assert await bench.used() == "old"
    found = bench.condition()
    assert found is not None
    assert found.level is Level.TROUBLE
    assert "wrong password" in found.message
    assert 60 < bench.server.attempts < 500
    bench.server.passwords.add("new")
    await asyncio.sleep(31)
    bench.server.made["old"].storage.folders.clear()
    assert await bench.used() == "new"
    assert bench.condition() == Condition("runtime-secret", Level.OK)


async def test_the_last_secret_counts(bench: Bench) -> None:
    """A mistake is corrected: the wrong secret is forgotten, the right one tried without delay."""
    bench.renewal.want(settings("typo"))
    await asyncio.sleep(3600)
    bench.server.passwords.add("new")
    bench.renewal.want(settings("new"))
    await asyncio.sleep(0.1)
    assert await bench.used() == "new"
    attempts = bench.server.attempts
    await asyncio.sleep(3600)
    assert bench.server.attempts == attempts


async def test_the_end_comes_even_with_news(bench: Bench) -> None:
    """The agent ends in the moment in which another secret is found: it is not tried any more."""
    bench.renewal.want(settings("typo"))
    await asyncio.sleep(3600)
    bench.renewal.want(settings("another typo"))
    async with asyncio.timeout(60):
        await bench.renewal.close()
    assert "another typo" not in bench.server.made


async def test_a_secret_that_is_taken_back_is_forgotten(bench: Bench) -> None:
    """The one in use is wanted again: nothing to do, nothing in trouble."""
    bench.renewal.want(settings("typo"))
    await asyncio.sleep(60)
    bench.renewal.want(settings("old"))
    await asyncio.sleep(0.1)
    assert await bench.used() == "old"
    assert bench.condition() == Condition("runtime-secret", Level.OK)


async def test_a_secret_that_is_in_use_already_changes_nothing(bench: Bench) -> None:
    """Another secret was rotated: no connection is made."""
    bench.renewal.want(settings("old"))
    await asyncio.sleep(60)
    assert bench.server.attempts == 0
    assert bench.condition() is None
