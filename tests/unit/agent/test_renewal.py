"""Rotated settings are tried until they work; the old ones are in use until then."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from harmony_agent.agent.renewal import Exchange, Renewal
from harmony_agent.core.errors import Refused
from harmony_agent.lifecycle.health import Condition, Health, Level
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import CONTROL, prepare_runtime
from harmony_agent.settings.model import SmbRepository
from harmony_agent.settings.secret import SecretStr
from tests.unit.repositories.memory import MemoryRepository

pytestmark = pytest.mark.looptime


def settings(password: str) -> SmbRepository:
    """Settings with this password."""
    return SmbRepository(server="server", share="share", user="agent", password=SecretStr(password))


@dataclass
class Server:
    """Knows some passwords; each connection is a repository in memory of its own. With `refused`
    this operation fails on new ones; those of the passwords `careless` ignore conditions."""

    passwords: set[str]
    refused: str = ""
    careless: set[str] = field(default_factory=set)
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
            if operation == self.refused:
                raise Refused(f"no right to {operation}")

        self.made[password] = MemoryRepository(conditional=password not in self.careless)
        self.made[password].before = check
        return self.made[password]


@dataclass
class Home:
    """Knows every place, or none of them; then `may_move` says when it moves."""

    is_everywhere: bool = True
    may_move: asyncio.Event = field(default_factory=asyncio.Event)

    async def knows(self, repository: Repository) -> bool:
        """See Tenant."""
        await repository.stat("home")
        return self.is_everywhere

    async def move(self, exchange: Exchange) -> None:
        """See Tenant."""
        await self.may_move.wait()
        await exchange().idle()


@dataclass
class Bench:
    """A renewal whose repository was opened with the password `old`."""

    server: Server
    handle: Handle
    renewal: Renewal
    health: Health
    tenant: Home

    async def used(self) -> str:
        """The password of the connection that is in use."""
        for made in self.server.made.values():
            made.storage.folders.clear()
        await self.handle.make_folder("asked")
        return next(p for p, made in self.server.made.items() if "asked" in made.storage.folders)

    def condition(self, name: str = "runtime-secret") -> Condition | None:
        """A line of /readyz, the secret's."""
        return next((c for c in self.health.conditions() if c.name == name), None)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """An open repository, and its renewal."""
    server = Server({"old"})
    handle = Handle("runtime", server.connector(settings("old")))
    health = Health()
    tenant = Home()
    renewal = Renewal(
        "runtime",
        handle,
        settings("old"),
        connector=server.connector,  # type: ignore[arg-type]  # these settings alone
        prepare=prepare_runtime,
        tenant=tenant,
        health=health,
    )
    yield Bench(server, handle, renewal, health, tenant)
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


async def test_a_connection_is_prepared_and_proven_before_it_is_used(bench: Bench) -> None:
    """It opens, but may not write: the old one stays in use, and it is told what is missing. Once
    it may, the agent's folder is there before anybody needs it."""
    bench.server.passwords.add("new")
    bench.server.refused = "create"
    bench.renewal.want(settings("new"))
    await asyncio.sleep(600)
    assert await bench.used() == "old"
    found = bench.condition()
    assert found is not None
    assert "can't write a probe file: no right to create" in found.message
    assert bench.server.made["new"].operations[-1] == "close"
    bench.server.refused = ""
    await asyncio.sleep(31)
    assert CONTROL in bench.server.made["new"].storage.folders
    assert await bench.used() == "new"


async def test_what_is_found_out_about_conditions_is_told(bench: Bench) -> None:
    """A store that ignores them is shown as degraded, and no longer once it is exchanged."""
    bench.server.passwords.update({"careless", "new"})
    bench.server.careless.add("careless")
    bench.renewal.want(settings("careless"))
    await asyncio.sleep(1)
    found = bench.condition("runtime-repository")
    assert found is not None
    assert found.level is Level.TROUBLE
    assert "ignores conditional writes" in found.message
    assert not bench.handle.conditional_writes
    bench.renewal.want(settings("new"))
    await asyncio.sleep(1)
    assert bench.condition("runtime-repository") == Condition("runtime-repository", Level.OK)
    assert bench.handle.conditional_writes


async def test_who_lives_there_says_when_to_move(bench: Bench) -> None:
    """The secret leads elsewhere: the old place is in use until then, and closed afterwards."""
    bench.server.passwords.add("new")
    bench.tenant.is_everywhere = False
    bench.renewal.want(settings("new"))
    await asyncio.sleep(600)
    assert await bench.used() == "old"
    assert bench.renewal.used == settings("old")
    bench.tenant.may_move.set()
    await asyncio.sleep(1)
    assert await bench.used() == "new"
    assert bench.renewal.used == settings("new")
    assert "close" in bench.server.made["old"].operations
    assert "close" not in bench.server.made["new"].operations


async def test_an_end_before_the_move_closes_what_was_not_used(bench: Bench) -> None:
    """The new connection is closed, the old one is left to its user."""
    bench.server.passwords.add("new")
    bench.tenant.is_everywhere = False
    bench.renewal.want(settings("new"))
    await asyncio.sleep(10)
    await bench.renewal.close()
    assert bench.server.made["new"].operations[-1] == "close"
    assert "close" not in bench.server.made["old"].operations
