"""Configuration sync while the repository is away, or is another one."""

import asyncio

import pytest

from harmony_agent.core.errors import Unavailable
from harmony_agent.lifecycle.health import Level
from tests.unit.sync.bench import Bench, running, settled
from tests.unit.sync.memory_repository import MemoryRepository
from tests.unit.sync.stock import STOCK, Node, as_bytes

pytestmark = pytest.mark.looptime


async def test_an_outage_of_the_repository_is_survived(
    first: Bench, repository: MemoryRepository
) -> None:
    """First pull and run wait for the repository, tell of it, and lose nothing."""
    repository.down = True
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(100)
        assert first.condition().level is Level.TROUBLE
        repository.down = False
        await asyncio.sleep(35)
        assert repository.owned() == as_bytes(STOCK)
        repository.down = True
        first.write("conf/Options.xml", "<Options during='1'/>")
        turns = first.hints.waits
        await asyncio.sleep(600)
        assert first.hints.waits - turns < 250
        calls = len(repository.calls)
        assert calls < 200
        repository.down = False
        await asyncio.sleep(40)
        assert repository.owned()["conf/Options.xml"] == b"<Options during='1'/>"
        assert first.condition().level is Level.OK


async def test_changes_during_an_outage_do_not_hammer_the_repository(
    first: Bench, repository: MemoryRepository
) -> None:
    """However much Harmony writes, attempts stay rare while nothing works; then all travels."""
    async with settled(first, list_interval=100_000):
        repository.calls.clear()
        turns = first.hints.waits
        repository.down = True
        for number in range(300):
            first.write(f"certs/{number}.cer", str(number))
            await asyncio.sleep(1)
        assert repository.count("create") < 17 * 40  # at most one attempt of 16 in seven seconds
        assert first.hints.waits - turns < 300 * 5
        repository.down = False
        await asyncio.sleep(40)
        assert len(repository.owned()) == 303


async def test_an_exchanged_repository_stops_everything(
    first: Bench, repository: MemoryRepository
) -> None:
    """A repository with another id, or none, gets nothing from this home."""
    async with settled(first, list_interval=60):
        pass  # it knows the repository, and ends
    repository.files.clear()
    async with first.configuration(list_interval=60) as sync, running(sync):
        first.write("conf/Options.xml", "<Options late='1'/>")
        await asyncio.sleep(100)
        assert repository.owned() == {}
        assert "not the repository this home was pulled from" in first.condition().message


async def test_a_new_repository_is_filled_once_it_is_accepted(
    first: Bench, node: Node, repository: MemoryRepository
) -> None:
    """A repository that lost everything gets this home's files by `sync --once --accept-deletes`;
    the other node takes it as the truth by the same command."""
    second = node("second")
    async with first.configuration() as one, second.configuration() as two:
        await one.take_on()
        await two.take_on()
        async with running(one), running(two):
            await asyncio.sleep(15)
            repository.files.clear()
            await asyncio.sleep(400)
            second.write("hosts/Second.xml", "<Host n='2'/>")
            await asyncio.sleep(100)
            assert repository.owned() == {}
            assert set(STOCK) <= first.owned().keys() and set(STOCK) <= second.owned().keys()
            await one.once(accept_deletes=True)
            assert repository.owned() == as_bytes(STOCK)
            await two.once(accept_deletes=True)
            await asyncio.sleep(70)
            assert repository.conflicts() == [("hosts/Second.xml", b"<Host n='2'/>")]
            assert repository.owned() == as_bytes(STOCK)
            assert first.condition().level is second.condition().level is Level.OK


async def test_accepting_a_repository_that_fails_midway_can_be_repeated(
    first: Bench, repository: MemoryRepository
) -> None:
    """Nothing is synchronized by halves meanwhile, and the second time completes it."""
    async with settled(first, list_interval=60) as sync:
        repository.files.clear()

        def fails(operation: str, path: str) -> None:
            if operation == "create" and path.startswith("hosts/"):
                raise Unavailable("a moment")

        repository.before = fails
        with pytest.raises(Unavailable):
            await sync.once(accept_deletes=True)
        repository.before = lambda operation, path: None
        first.write("hosts/Late.xml", "<Host/>")
        await asyncio.sleep(200)
        assert "hosts/Late.xml" not in repository.owned()
        assert "repeat" in first.condition().message
        await sync.once(accept_deletes=True)
        await asyncio.sleep(100)
        assert repository.owned() == {**as_bytes(STOCK), "hosts/Late.xml": b"<Host/>"}
        assert first.condition().level is Level.OK
