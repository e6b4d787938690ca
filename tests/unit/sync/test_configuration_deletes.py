"""Configuration sync and deletes: what travels, what is held."""

import asyncio

import pytest

from harmony_agent.lifecycle.health import Level
from tests.unit.sync.bench import Bench, settled
from tests.unit.sync.memory_repository import MemoryRepository
from tests.unit.sync.stock import STOCK, as_bytes

pytestmark = pytest.mark.looptime


async def test_an_edit_beats_a_delete_whichever_side_it_is_on(
    first: Bench, repository: MemoryRepository
) -> None:
    """What one side edits and the other deletes stays, with the edit."""
    async with settled(first, list_interval=60):
        repository.put("conf/Options.xml", b"<Options edited='there'/>")
        first.remove("conf/Options.xml")
        del repository.files["certs/CLEO.cer"]
        first.write("certs/CLEO.cer", "edited here")
        await asyncio.sleep(120)
    for files in (first.owned(), repository.owned()):
        assert files["conf/Options.xml"] == b"<Options edited='there'/>"
        assert files["certs/CLEO.cer"] == b"edited here"


async def test_a_delete_travels_once_the_file_stayed_away(
    first: Bench, repository: MemoryRepository
) -> None:
    """A deleted host leaves the repository after seconds; a brief absence does nothing."""
    first.write("hosts/Old.xml", "<Host/>")
    async with settled(first):
        first.remove("hosts/Old.xml")
        await asyncio.sleep(4)
        assert "hosts/Old.xml" in repository.files
        first.write("hosts/Old.xml", "<Host/>")
        await asyncio.sleep(5)
        first.remove("hosts/Old.xml")
        await asyncio.sleep(4)
        assert "hosts/Old.xml" in repository.files
        await asyncio.sleep(3)
        assert "hosts/Old.xml" not in repository.files


async def test_an_emptied_repository_deletes_nothing_until_that_is_accepted(
    first: Bench, repository: MemoryRepository
) -> None:
    """With its id still there, everything seems deleted: held, told, and done when accepted."""
    async with settled(first, list_interval=60) as sync:
        for path in list(repository.owned()):
            del repository.files[path]
        await asyncio.sleep(200)
        assert set(STOCK) <= first.owned().keys()
        assert first.condition().level is Level.TROUBLE
        assert "--accept-deletes" in first.condition().message
        first.write("hosts/New Host.xml", "<Host/>")
        await asyncio.sleep(5)
        assert repository.owned() == {"hosts/New Host.xml": b"<Host/>"}
        await sync.once(accept_deletes=True)
        assert not set(STOCK) & first.owned().keys()
        assert set(first.replaced()) == set(STOCK)
        await asyncio.sleep(70)
        assert first.condition().level is Level.OK


async def test_many_deletes_are_held_until_they_are_accepted(
    first: Bench, repository: MemoryRepository
) -> None:
    """More deletes than allowed stay home; `sync --once --accept-deletes` lets them through."""
    for number in range(30):
        first.write(f"certs/{number}.cer", f"certificate {number}")
    async with settled(first) as sync:
        for number in range(25):
            first.remove(f"certs/{number}.cer")
        await asyncio.sleep(100)
        assert len(repository.owned()) == 33
        assert first.section()["heldCount"] == 25
        assert first.condition().level is Level.TROUBLE
        report = await sync.once(dry_run=True)
        assert len(report["held"]) == 25
        await sync.once(accept_deletes=True)
        assert len(repository.owned()) == 8


async def test_a_home_that_vanished_deletes_nothing(
    first: Bench, repository: MemoryRepository
) -> None:
    """An emptied or unmounted home is trouble, not a delete of everything."""
    async with settled(first):
        first.home.rename(first.home.with_name("away"))
        await asyncio.sleep(200)
        assert repository.owned() == as_bytes(STOCK)
        assert first.condition().level is Level.TROUBLE
        first.home.mkdir()
        await asyncio.sleep(200)
        assert repository.owned() == as_bytes(STOCK)
        assert "not the volume it was" in first.condition().message
        first.home.rmdir()
        first.home.with_name("away").rename(first.home)
        await asyncio.sleep(100)
        assert first.condition().level is Level.OK
