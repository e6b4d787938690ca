"""Configuration sync: first pull, both ways, deletes, what is held."""

import asyncio
from collections.abc import Callable

import pytest

from harmony_agent.core.errors import Unavailable
from harmony_agent.lifecycle.health import Level
from tests.unit.sync.bench import Bench, running
from tests.unit.sync.memory_repository import MemoryRepository

pytestmark = pytest.mark.looptime

Node = Callable[[str], Bench]

STOCK = {
    "hosts/Local Listener.xml": "<Host/>",
    "conf/Options.xml": "<Options stock='1'/>",
    "certs/CLEO.cer": "stock certificate",
}


def stock(node: Bench) -> None:
    """The files that Harmony's image brings along."""
    for path, text in STOCK.items():
        node.write(path, text)
    node.write("webserver/index.html", "<html/>")
    node.write("conf/Sync.xml", "<Sync/>")


def as_bytes(files: dict[str, str]) -> dict[str, bytes]:
    """The same with the contents as bytes."""
    return {path: text.encode() for path, text in files.items()}


async def test_the_first_node_fills_the_repository_and_then_names_it(node: Node) -> None:
    """All configuration files are uploaded, others are not, and repo-id is written last."""
    first = node("first")
    stock(first)
    async with first.configuration() as sync:
        await sync.take_on()
    assert first.repository.owned() == as_bytes(STOCK)
    assert first.repository.calls[-1] == ("create", ".harmony-agent/repo-id")


async def test_a_further_node_takes_what_the_repository_holds(node: Node) -> None:
    """Missing files arrive, stock files that differ or are unknown there give way and are kept."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options mine='1'/>")
    first.write("hosts/ACME AS2.xml", "<Host alias='ACME AS2'/>")
    first.write("data/keys/user.p12", "private key")
    async with first.configuration() as sync:
        await sync.take_on()
    stock(second)
    second.write("certs/extra.cer", "only in the image")
    async with second.configuration() as sync:
        await sync.take_on()
    owned = second.owned()
    assert {path: owned[path] for path in first.repository.owned()} == first.repository.owned()
    assert set(owned) - set(first.repository.owned()) == {"webserver/index.html", "conf/Sync.xml"}
    assert second.replaced() == {
        **as_bytes(STOCK),
        "certs/extra.cer": b"only in the image",
    }


async def test_arriving_files_are_private_where_they_are_keys(node: Node) -> None:
    """0600 below certs and data, 0640 elsewhere."""
    first, second = node("first"), node("second")
    stock(first)
    first.write("data/user.p12", "private key")
    async with first.configuration() as sync:
        await sync.take_on()
    async with second.configuration() as sync:
        await sync.take_on()
    modes = {p: (second.home / p).stat().st_mode & 0o777 for p in second.owned()}
    assert modes == {
        "certs/CLEO.cer": 0o600,
        "data/user.p12": 0o600,
        "conf/Options.xml": 0o640,
        "hosts/Local Listener.xml": 0o640,
    }


async def test_a_change_travels_once_the_file_has_come_to_rest(
    node: Node, repository: MemoryRepository
) -> None:
    """A file is pushed soon after its last write, and not before."""
    first = node("first")
    stock(first)
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
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
    node: Node, repository: MemoryRepository
) -> None:
    """A file rewritten twice a second is pushed all the same within a few seconds."""
    first = node("first")
    stock(first)
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
        for number in range(20):
            first.write("conf/Options.xml", f"<Options number='{number}'/>" + "\n" * number)
            await asyncio.sleep(0.4)
        assert repository.owned()["conf/Options.xml"] != STOCK["conf/Options.xml"].encode()


async def test_half_written_xml_does_not_travel_and_is_named(
    node: Node, repository: MemoryRepository
) -> None:
    """XML that does not parse is held until it does."""
    first = node("first")
    stock(first)
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
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
    node: Node, repository: MemoryRepository
) -> None:
    """A change nobody hinted at travels within a good minute."""
    first = node("first")
    stock(first)
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
        (first.home / "conf/Options.xml").write_text("<Options silent='1'/>")
        await asyncio.sleep(65)
        assert repository.owned()["conf/Options.xml"] == b"<Options silent='1'/>"


async def test_what_others_change_arrives_beside_a_running_harmony(
    node: Node, repository: MemoryRepository
) -> None:
    """New, changed and deleted files of a foreign writer arrive by the listings."""
    first = node("first")
    stock(first)
    async with first.configuration(list_interval=60) as sync, running(sync):
        await asyncio.sleep(5)
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


async def test_a_change_of_one_node_is_in_the_other_within_seconds(node: Node) -> None:
    """New, changed and deleted files travel by the change marker, long before a listing."""
    first, second = node("first"), node("second")
    stock(first)
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
    node: Node, repository: MemoryRepository
) -> None:
    """The repository's version arrives in home; home's own is in the conflict store, and told."""
    first = node("first")
    stock(first)
    async with first.configuration(list_interval=60) as sync, running(sync):
        await asyncio.sleep(5)
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


async def test_an_edit_beats_a_delete_whichever_side_it_is_on(
    node: Node, repository: MemoryRepository
) -> None:
    """What one side edits and the other deletes stays, with the edit."""
    first = node("first")
    stock(first)
    async with first.configuration(list_interval=60) as sync, running(sync):
        await asyncio.sleep(5)
        repository.put("conf/Options.xml", b"<Options edited='there'/>")
        first.remove("conf/Options.xml")
        del repository.files["certs/CLEO.cer"]
        first.write("certs/CLEO.cer", "edited here")
        await asyncio.sleep(120)
    for files in (first.owned(), repository.owned()):
        assert files["conf/Options.xml"] == b"<Options edited='there'/>"
        assert files["certs/CLEO.cer"] == b"edited here"


async def test_a_delete_travels_once_the_file_stayed_away(
    node: Node, repository: MemoryRepository
) -> None:
    """A deleted host leaves the repository after seconds; a brief absence does nothing."""
    first = node("first")
    stock(first)
    first.write("hosts/Old.xml", "<Host/>")
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
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
    node: Node, repository: MemoryRepository
) -> None:
    """With its id still there, everything seems deleted: held, told, and done when accepted."""
    first = node("first")
    stock(first)
    async with first.configuration(list_interval=60) as sync, running(sync):
        await asyncio.sleep(5)
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


async def test_twins_are_told_apart_or_held(node: Node, repository: MemoryRepository) -> None:
    """Where the repository folds case the second of two names is held; else both travel."""
    first = node("first")
    first.write("hosts/ACME.xml", "<Host n='1'/>")
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
        repository.folding = True
        first.write("hosts/acme.xml", "<Host n='2'/>")
        await asyncio.sleep(5)
        assert repository.owned() == {"hosts/ACME.xml": b"<Host n='1'/>"}
        assert "hosts/ACME.xml" in first.section()["held"]["hosts/acme.xml"]
        repository.folding = False
        await asyncio.sleep(70)
        assert set(repository.owned()) == {"hosts/ACME.xml", "hosts/acme.xml"}


async def test_names_the_repository_can_not_hold_disturb_nothing(
    node: Node, repository: MemoryRepository
) -> None:
    """However many there are: the rest travels, the last push does not wait for them, and a node
    that takes its home on anew, its state lost, leaves them where they are."""
    first = node("first")
    stock(first)
    odd = {f"certs/{number}:.cer": str(number) for number in range(40)}
    for path, text in odd.items():
        first.write(path, text)
    repository.forbidden = ":"
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
        first.write("certs/~.cer", "behind them all")
        await asyncio.sleep(5)
        assert repository.owned() == as_bytes({**STOCK, "certs/~.cer": "behind them all"})
        assert first.section()["heldCount"] == 40 and not first.section()["failed"]
        assert first.condition().level is Level.TROUBLE
    async with first.configuration() as sync:
        await sync.take_on()
        assert await sync.flush(10) == 0
    for base in first.state.glob("sync-*"):
        base.unlink()
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
        assert first.owned().keys() == {
            *STOCK,
            *odd,
            "certs/~.cer",
            "conf/Sync.xml",
            "webserver/index.html",
        }
        assert first.section()["heldCount"] == 40


async def test_many_deletes_are_held_until_they_are_accepted(
    node: Node, repository: MemoryRepository
) -> None:
    """More deletes than allowed stay home; `sync --once --accept-deletes` lets them through."""
    first = node("first")
    stock(first)
    for number in range(30):
        first.write(f"certs/{number}.cer", f"certificate {number}")
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
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
    node: Node, repository: MemoryRepository
) -> None:
    """An emptied or unmounted home is trouble, not a delete of everything."""
    first = node("first")
    stock(first)
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
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


async def test_an_outage_of_the_repository_is_survived(
    node: Node, repository: MemoryRepository
) -> None:
    """First pull and run wait for the repository, tell of it, and lose nothing."""
    first = node("first")
    stock(first)
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
    node: Node, repository: MemoryRepository
) -> None:
    """However much Harmony writes, attempts stay rare while nothing works; then all travels."""
    first = node("first")
    stock(first)
    async with first.configuration(list_interval=100_000) as sync, running(sync):
        await asyncio.sleep(5)
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
    node: Node, repository: MemoryRepository
) -> None:
    """A repository with another id, or none, gets nothing from this home."""
    first = node("first")
    stock(first)
    async with first.configuration(list_interval=60) as sync, running(sync):
        await asyncio.sleep(5)
    repository.files.clear()
    async with first.configuration(list_interval=60) as sync, running(sync):
        first.write("conf/Options.xml", "<Options late='1'/>")
        await asyncio.sleep(100)
        assert repository.owned() == {}
        assert "not the repository this home was pulled from" in first.condition().message


async def test_a_new_repository_is_filled_once_it_is_accepted(
    node: Node, repository: MemoryRepository
) -> None:
    """A repository that lost everything gets this home's files by `sync --once --accept-deletes`;
    the other node takes it as the truth by the same command."""
    first, second = node("first"), node("second")
    stock(first)
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


async def test_a_known_home_is_not_pulled_again(node: Node, repository: MemoryRepository) -> None:
    """After a restart beside a running Harmony only what changed meanwhile travels."""
    first = node("first")
    stock(first)
    async with first.configuration() as sync:
        await sync.take_on()
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


async def test_a_lost_base_loses_nothing(node: Node, repository: MemoryRepository) -> None:
    """Where Harmony ran, the repository is the truth; what differs is in the conflict store."""
    first = node("first")
    stock(first)
    async with first.configuration() as sync:
        await sync.take_on()
    repository.put("conf/Options.xml", b"<Options foreign='1'/>")
    repository.put("hosts/Foreign.xml", b"<Host/>")
    first.write("hosts/Mine.xml", "<Host mine='1'/>")
    for path in first.state.glob("sync-*"):
        path.unlink()
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
    node: Node, repository: MemoryRepository
) -> None:
    """More than may be deleted at once stays in home and does not travel, until it is edited."""
    first = node("first")
    stock(first)
    async with first.configuration() as sync:
        await sync.take_on()
    for number in range(30):
        first.write(f"hosts/{number}.xml", f"<Host n='{number}'/>")
    for path in first.state.glob("sync-*"):
        path.unlink()
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


async def test_accepting_a_repository_that_fails_midway_can_be_repeated(
    node: Node, repository: MemoryRepository
) -> None:
    """Nothing is synchronized by halves meanwhile, and the second time completes it."""
    first = node("first")
    stock(first)
    async with first.configuration(list_interval=60) as sync, running(sync):
        await asyncio.sleep(5)
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


async def test_a_new_home_with_old_state_is_pulled_anew(
    node: Node, repository: MemoryRepository
) -> None:
    """A base of another home is not believed: nothing looks deleted."""
    first = node("first")
    stock(first)
    async with first.configuration() as sync:
        await sync.take_on()
    first.home.rename(first.home.with_name("old"))
    first.home.mkdir()
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(100)
    assert first.owned() == as_bytes(STOCK)
    assert repository.owned() == as_bytes(STOCK)


async def test_two_first_nodes_at_the_same_time_agree(
    node: Node, repository: MemoryRepository
) -> None:
    """Both end with the union; of a file that differs one version wins, the other is kept."""
    first, second = node("first"), node("second")
    stock(first)
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
    node: Node, repository: MemoryRepository
) -> None:
    """Stock files do not reach the repository by way of an early end."""
    first = node("first")
    stock(first)
    async with first.configuration() as sync:
        assert await sync.flush(5) == 0
        with pytest.raises(Unavailable, match="first pull"):
            await sync.once()
    assert repository.owned() == {}


async def test_the_last_push_takes_what_was_just_written(
    node: Node, repository: MemoryRepository
) -> None:
    """A file written a moment ago, and a delete, travel by `flush` without waiting."""
    first = node("first")
    stock(first)
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
