"""Configuration sync: first pull, both ways, names."""

import asyncio

import pytest

from harmony_agent.lifecycle.health import Level
from tests.unit.sync.bench import Bench, running, settled, take_on
from tests.unit.sync.memory_repository import MemoryRepository
from tests.unit.sync.stock import STOCK, Node, as_bytes, stock

pytestmark = pytest.mark.looptime


async def test_the_first_node_fills_the_repository_and_then_names_it(first: Bench) -> None:
    """All configuration files are uploaded, others are not, and repo-id is written last."""
    await take_on(first)
    assert first.repository.owned() == as_bytes(STOCK)
    assert first.repository.calls[-1] == ("create", ".harmony-agent/repo-id")


async def test_a_further_node_takes_what_the_repository_holds(node: Node) -> None:
    """Missing files arrive, stock files that differ or are unknown there give way and are kept."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options mine='1'/>")
    first.write("hosts/ACME AS2.xml", "<Host alias='ACME AS2'/>")
    first.write("data/keys/user.p12", "private key")
    await take_on(first)
    stock(second)
    second.write("certs/extra.cer", "only in the image")
    await take_on(second)
    owned = second.owned()
    assert {path: owned[path] for path in first.repository.owned()} == first.repository.owned()
    assert set(owned) - set(first.repository.owned()) == {"webserver/index.html", "conf/Sync.xml"}
    assert second.replaced() == {
        **as_bytes(STOCK),
        "certs/extra.cer": b"only in the image",
    }


async def test_arriving_files_are_private_where_they_are_keys(first: Bench, node: Node) -> None:
    """0600 below certs and data, 0640 elsewhere."""
    second = node("second")
    first.write("data/user.p12", "private key")
    await take_on(first)
    await take_on(second)
    modes = {p: (second.home / p).stat().st_mode & 0o777 for p in second.owned()}
    assert modes == {
        "certs/CLEO.cer": 0o600,
        "data/user.p12": 0o600,
        "conf/Options.xml": 0o640,
        "hosts/Local Listener.xml": 0o640,
    }


async def test_a_change_travels_once_the_file_has_come_to_rest(
    first: Bench, repository: MemoryRepository
) -> None:
    """A file is pushed soon after its last write, and not before."""
    async with settled(first):
        for number in range(4):
            first.write("conf/Options.xml", f"<Options number='{number}'/>" + "\n" * number)
            await asyncio.sleep(0.25)
            assert repository.owned()["conf/Options.xml"] == STOCK["conf/Options.xml"].encode()
        await asyncio.sleep(1.5)
        assert repository.owned()["conf/Options.xml"].startswith(b"<Options number='3'/>")
        first.write("hosts/New Host.xml", "<Host/>")
        await asyncio.sleep(2)
        assert repository.owned()["hosts/New Host.xml"] == b"<Host/>"
    assert first.condition().level is Level.OK


async def test_a_file_that_never_rests_still_travels(
    first: Bench, repository: MemoryRepository
) -> None:
    """A file rewritten twice a second is pushed all the same within a few seconds."""
    async with settled(first):
        for number in range(20):
            first.write("conf/Options.xml", f"<Options number='{number}'/>" + "\n" * number)
            await asyncio.sleep(0.4)
        assert repository.owned()["conf/Options.xml"] != STOCK["conf/Options.xml"].encode()


async def test_half_written_xml_does_not_travel_and_is_named(
    first: Bench, repository: MemoryRepository
) -> None:
    """XML that does not parse is held until it does."""
    async with settled(first):
        first.write("conf/Options.xml", "<Options><half")
        await asyncio.sleep(70)
        assert repository.owned()["conf/Options.xml"] == STOCK["conf/Options.xml"].encode()
        assert "not whole XML" in first.section()["held"]["conf/Options.xml"]
        assert first.condition().level is Level.TROUBLE
        first.write("conf/Options.xml", "<Options><half/></Options>")
        await asyncio.sleep(3)
        assert repository.owned()["conf/Options.xml"] == b"<Options><half/></Options>"
        assert first.condition().level is Level.OK


async def test_a_lost_hint_is_made_up_for_by_the_next_full_look(
    first: Bench, repository: MemoryRepository
) -> None:
    """A change nobody hinted at travels within a good minute."""
    async with settled(first):
        (first.home / "conf/Options.xml").write_text("<Options silent='1'/>")
        await asyncio.sleep(65)
        assert repository.owned()["conf/Options.xml"] == b"<Options silent='1'/>"


async def test_what_others_change_arrives_beside_a_running_harmony(
    first: Bench, repository: MemoryRepository
) -> None:
    """New, changed and deleted files of a foreign writer arrive by the listings."""
    async with settled(first, list_interval=60):
        repository.put("conf/Options.xml", b"<Options foreign='1'/>")
        repository.put("hosts/Foreign.xml", b"<Host/>")
        del repository.files["certs/CLEO.cer"]
        await asyncio.sleep(70)
        assert first.owned()["conf/Options.xml"] == b"<Options foreign='1'/>"
        assert first.owned()["hosts/Foreign.xml"] == b"<Host/>"
        assert "certs/CLEO.cer" in first.owned()  # one listing is no proof
        await asyncio.sleep(35)
        assert "certs/CLEO.cer" not in first.owned()
        assert first.condition().level is Level.OK
    assert first.replaced() == {"certs/CLEO.cer": STOCK["certs/CLEO.cer"].encode()}


async def test_a_change_of_one_node_is_in_the_other_within_seconds(
    first: Bench, node: Node
) -> None:
    """New, changed and deleted files travel by the change marker, long before a listing."""
    second = node("second")
    async with first.configuration() as one, second.configuration() as two:
        await one.take_on()
        await two.take_on()
        async with running(one), running(two):
            await asyncio.sleep(15)
            first.write("conf/Options.xml", "<Options by='first'/>")
            first.write("hosts/New Host.xml", "<Host/>")
            first.remove("certs/CLEO.cer")
            await asyncio.sleep(9)
            assert second.owned()["conf/Options.xml"] == b"<Options by='first'/>"
            assert second.owned()["hosts/New Host.xml"] == b"<Host/>"
            await asyncio.sleep(7)
            assert "certs/CLEO.cer" not in second.owned()
            second.write("conf/Options.xml", "<Options by='second'/>")
            await asyncio.sleep(9)
            assert first.owned()["conf/Options.xml"] == b"<Options by='second'/>"
    assert second.replaced()["certs/CLEO.cer"] == STOCK["certs/CLEO.cer"].encode()
    assert first.repository.conflicts() == []


async def test_of_a_change_on_both_sides_the_accepted_one_wins_and_the_other_is_kept(
    first: Bench, repository: MemoryRepository
) -> None:
    """The repository's version arrives in home; home's own is in the conflict store, and told."""
    async with settled(first, list_interval=60):
        repository.put("conf/Options.xml", b"<Options foreign='1'/>")
        first.write("conf/Options.xml", "<Options local='1'/>")
        await asyncio.sleep(80)
        assert repository.owned()["conf/Options.xml"] == b"<Options foreign='1'/>"
        assert first.owned()["conf/Options.xml"] == b"<Options foreign='1'/>"
        assert repository.conflicts() == [("conf/Options.xml", b"<Options local='1'/>")]
        assert first.section("conflicts")["count"] == 1
        first.write("conf/Options.xml", "<Options after='1'/>")
        await asyncio.sleep(3)
        assert repository.owned()["conf/Options.xml"] == b"<Options after='1'/>"


async def test_twins_are_told_apart_or_held(node: Node, repository: MemoryRepository) -> None:
    """Where the repository folds case the second of two names is held; else both travel."""
    first = node("first")
    first.write("hosts/ACME.xml", "<Host n='1'/>")
    async with settled(first):
        repository.folding = True
        first.write("hosts/acme.xml", "<Host n='2'/>")
        await asyncio.sleep(5)
        assert repository.owned() == {"hosts/ACME.xml": b"<Host n='1'/>"}
        assert "hosts/ACME.xml" in first.section()["held"]["hosts/acme.xml"]
        repository.folding = False
        await asyncio.sleep(70)
        assert set(repository.owned()) == {"hosts/ACME.xml", "hosts/acme.xml"}


async def test_names_the_repository_can_not_hold_disturb_nothing(
    first: Bench, repository: MemoryRepository
) -> None:
    """However many there are: the rest travels, the last push does not wait for them, and a node
    that takes its home on anew, its state lost, leaves them where they are."""
    odd = {f"certs/{number}:.cer": str(number) for number in range(40)}
    for path, text in odd.items():
        first.write(path, text)
    repository.forbidden = ":"
    async with settled(first):
        first.write("certs/~.cer", "behind them all")
        await asyncio.sleep(5)
        assert repository.owned() == as_bytes({**STOCK, "certs/~.cer": "behind them all"})
        assert first.section()["heldCount"] == 40 and not first.section()["failed"]
        assert first.condition().level is Level.TROUBLE
    async with first.configuration() as sync:
        await sync.take_on()
        assert await sync.flush(10) == 0
    first.lose_base()
    async with settled(first):
        assert first.owned().keys() == {
            *STOCK,
            *odd,
            "certs/~.cer",
            "conf/Sync.xml",
            "webserver/index.html",
        }
        assert first.section()["heldCount"] == 40
