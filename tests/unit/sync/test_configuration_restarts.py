"""Configuration sync: what a new process makes of a home that is known, or half known."""

import asyncio

import pytest

from harmony_agent.core.errors import Unavailable
from harmony_agent.lifecycle.health import Level
from tests.unit.sync.bench import Bench, running, take_on
from tests.unit.sync.memory_repository import MemoryRepository
from tests.unit.sync.stock import STOCK, Node, as_bytes, stock

pytestmark = pytest.mark.looptime


async def test_a_known_home_is_not_pulled_again(first: Bench, repository: MemoryRepository) -> None:
    """After a restart beside a running Harmony only what changed meanwhile travels."""
    await take_on(first)
    first.write("conf/Options.xml", "<Options while='down'/>")
    repository.put("hosts/Foreign.xml", b"<Host/>")
    repository.calls.clear()
    async with first.configuration() as sync:
        await sync.take_on()
        assert repository.calls == []
        async with running(sync):
            await asyncio.sleep(5)
    assert repository.owned()["conf/Options.xml"] == b"<Options while='down'/>"
    assert first.owned()["hosts/Foreign.xml"] == b"<Host/>"
    created = [path for called, path in repository.calls if called == "create"]
    assert created == [".harmony-agent/markers/first"]


async def test_a_lost_base_loses_nothing(first: Bench, repository: MemoryRepository) -> None:
    """Where Harmony ran, the repository is the truth; what differs is in the conflict store."""
    await take_on(first)
    repository.put("conf/Options.xml", b"<Options foreign='1'/>")
    repository.put("hosts/Foreign.xml", b"<Host/>")
    first.write("hosts/Mine.xml", "<Host mine='1'/>")
    first.lose_base()
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(100)
        expected = {**as_bytes(STOCK), "conf/Options.xml": b"<Options foreign='1'/>"}
        expected["hosts/Foreign.xml"] = b"<Host/>"
        assert {p: first.owned()[p] for p in expected} == expected == repository.owned()
        assert sorted(repository.conflicts()) == [
            ("conf/Options.xml", STOCK["conf/Options.xml"].encode()),
            ("hosts/Mine.xml", b"<Host mine='1'/>"),
        ]
        assert first.condition().level is Level.OK


async def test_a_lost_base_and_many_files_nobody_else_has_are_held(
    first: Bench, repository: MemoryRepository
) -> None:
    """More than may be deleted at once stays in home and does not travel, until it is edited."""
    await take_on(first)
    for number in range(30):
        first.write(f"hosts/{number}.xml", f"<Host n='{number}'/>")
    first.lose_base()
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(100)
        assert len(first.section()["held"]) == 20 and first.section()["heldCount"] == 30
        assert first.condition().level is Level.TROUBLE
        assert repository.owned() == as_bytes(STOCK)
        first.write("hosts/7.xml", "<Host n='edited'/>")
        await asyncio.sleep(3)
        assert repository.owned()["hosts/7.xml"] == b"<Host n='edited'/>"
        await sync.once(accept_deletes=True)
        assert repository.owned().keys() == {*STOCK, "hosts/7.xml"}
        assert "hosts/8.xml" not in first.owned()
        assert len(repository.conflicts()) == 29
        first.write("hosts/8.xml", "<Host n='8'/>")  # brought back as it was
        await asyncio.sleep(3)
        assert repository.owned()["hosts/8.xml"] == b"<Host n='8'/>"


async def test_a_new_home_with_old_state_is_pulled_anew(
    first: Bench, repository: MemoryRepository
) -> None:
    """A base of another home is not believed: nothing looks deleted."""
    await take_on(first)
    first.home.rename(first.home.with_name("old"))
    first.home.mkdir()
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(100)
    assert first.owned() == as_bytes(STOCK)
    assert repository.owned() == as_bytes(STOCK)


async def test_two_first_nodes_at_the_same_time_agree(
    first: Bench, node: Node, repository: MemoryRepository
) -> None:
    """Both end with the union; of a file that differs one version wins, the other is kept."""
    second = node("second")
    stock(second)
    first.write("hosts/First.xml", "<Host n='1'/>")
    second.write("hosts/Second.xml", "<Host n='2'/>")
    second.write("conf/Options.xml", "<Options stock='2'/>")
    repository.delay = 0.01
    async with first.configuration() as one, second.configuration() as two:
        await asyncio.gather(one.take_on(), two.take_on())
    names = {*STOCK, "hosts/First.xml", "hosts/Second.xml"}
    assert set(repository.owned()) == names
    assert sum(n == ".harmony-agent/repo-id" for n in repository.files) == 1
    kept = [*first.replaced().values(), *second.replaced().values()]
    there = repository.owned()["conf/Options.xml"]
    assert {there, *kept} == {b"<Options stock='1'/>", b"<Options stock='2'/>"}
    for node_home in (first.owned(), second.owned()):
        assert {path: node_home.get(path) for path in names} == repository.owned()


async def test_nothing_is_flushed_from_a_home_that_was_never_pulled(
    first: Bench, repository: MemoryRepository
) -> None:
    """Stock files do not reach the repository by way of an early end."""
    async with first.configuration() as sync:
        assert await sync.flush(5) == 0
        with pytest.raises(Unavailable, match="first pull"):
            await sync.once()
    assert repository.owned() == {}


async def test_the_last_push_takes_what_was_just_written(
    first: Bench, repository: MemoryRepository
) -> None:
    """A file written a moment ago, and a delete, travel by `flush` without waiting."""
    async with first.configuration() as sync:
        await sync.take_on()
        first.write("conf/Options.xml", "<Options last='1'/>")
        first.remove("certs/CLEO.cer")
        assert await sync.flush(5) == 0
        assert repository.owned()["conf/Options.xml"] == b"<Options last='1'/>"
        assert "certs/CLEO.cer" not in repository.files
        first.write("conf/Options.xml", "<Options too='late'/>")
        repository.down = True
        before = asyncio.get_running_loop().time()
        assert await sync.flush(5) == 1
        assert asyncio.get_running_loop().time() - before == pytest.approx(5, abs=0.1)
