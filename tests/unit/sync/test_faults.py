"""Lost answers, foreign writers in between, files that change at the worst moment."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from harmony_agent.core.errors import Refused, Unsupported
from harmony_agent.lifecycle.health import Level
from harmony_agent.repositories.interface import Entry
from harmony_agent.sync.decisions.states import digest
from tests.unit.sync.bench import Bench, running
from tests.unit.sync.memory_repository import MemoryRepository

pytestmark = pytest.mark.looptime

Node = Callable[[str], Bench]


@pytest.mark.parametrize("operation", ["create", "replace", "delete"])
async def test_a_write_whose_answer_is_lost_is_recognized(
    node: Node, repository: MemoryRepository, operation: str
) -> None:
    """The effect is found by looking, nothing is set aside, nothing is done twice."""
    pod = node("pod")
    pod.write("AS2/data/1.id", "before")
    repository.loses_answer = lambda called, path: called == operation
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(5)
        pod.write("AS2/data/1.id", "after!")
        await asyncio.sleep(5)
        assert repository.owned() == {"AS2/data/1.id": b"after!"}
        pod.remove("AS2/data/1.id")
        await asyncio.sleep(10)
        assert repository.owned() == {}
    assert repository.kept() == []
    assert repository.count("create") == 1
    assert repository.count("replace") == 1
    assert repository.count("delete") == 1
    assert pod.condition("runtime").level is Level.OK


async def test_a_foreign_writer_between_decision_and_write_wins_nothing_and_loses_nothing(
    node: Node, repository: MemoryRepository
) -> None:
    """The compare-and-swap refuses, the file is decided anew: a conflict, the loser is kept."""
    first = node("first")
    first.write("conf/Options.xml", "<Options/>")

    def foreign(operation: str, path: str) -> None:
        if operation == "replace":
            repository.put(path, b"<Options foreign='1'/>")
            repository.before = lambda operation, path: None

    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
        repository.before = foreign
        first.write("conf/Options.xml", "<Options local='1'/>")
        await asyncio.sleep(5)
        assert repository.owned() == {"conf/Options.xml": b"<Options foreign='1'/>"}
        assert first.owned() == {"conf/Options.xml": b"<Options foreign='1'/>"}
        assert repository.conflicts() == [("conf/Options.xml", b"<Options local='1'/>")]


async def test_the_same_edit_on_two_nodes_is_no_conflict(
    node: Node, repository: MemoryRepository
) -> None:
    """Who comes second finds his own content and is content."""
    first, second = node("first"), node("second")
    first.write("conf/Options.xml", "<Options/>")
    async with first.configuration() as one, second.configuration() as two:
        await one.take_on()
        await two.take_on()
        async with running(one), running(two):
            await asyncio.sleep(5)
            first.write("conf/Options.xml", "<Options same='1'/>")
            second.write("conf/Options.xml", "<Options same='1'/>")
            await asyncio.sleep(5)
    for one_node in (first, second):
        assert one_node.condition().level is Level.OK
        assert one_node.section()["held"] == {}


async def test_a_file_deleted_and_written_again_during_the_delete_stays(
    node: Node, repository: MemoryRepository
) -> None:
    """Home is looked at again right before the repository's copy goes."""
    pod = node("pod")
    pod.write("AS2/data/1.id", "1")
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(5)
        pod.remove("AS2/data/1.id")
        await asyncio.sleep(1.5)
        (pod.home / "AS2/data/1.id").write_text("again")  # no hint about it
        await asyncio.sleep(3)
        assert repository.count("delete") == 0
        await asyncio.sleep(3)
        assert repository.owned() == {"AS2/data/1.id": b"again"}


async def test_a_file_that_comes_back_while_other_files_travel_is_not_deleted(
    node: Node, repository: MemoryRepository
) -> None:
    """Between the look and the delete lies the time that all the uploads of the pass take."""
    pod = node("pod")
    pod.write("AS2/data/1.id", "1")

    def meanwhile(operation: str, path: str) -> None:
        if operation == "create":
            (pod.home / "AS2/data/1.id").write_text("again")

    async with pod.runtime() as mirror:
        await mirror.take_on()
        repository.before = meanwhile
        pod.remove("AS2/data/1.id")
        pod.write("AS2/data/2.id", "2")
        assert await mirror.flush(5) == 0
    assert repository.count("delete") == 0
    assert repository.owned() == {"AS2/data/1.id": b"again", "AS2/data/2.id": b"2"}


async def test_a_delete_is_not_undone_because_a_listing_left_the_file_out(
    node: Node, repository: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing leaves out a folder that the account may not read for a while: what was deleted
    in home meanwhile is deleted there afterwards, and does not come back."""
    pod = node("first")
    pod.write("certs/deep/1.cer", "1")
    pod.write("certs/2.cer", "2")
    listed, hidden = repository.list, True

    async def listing(folder: str = "") -> list[Entry]:
        found = await listed(folder)
        return [entry for entry in found if not (hidden and "/deep/" in entry.path)]

    def refuse(operation: str, path: str) -> None:
        if hidden and path.startswith("certs/deep/"):
            raise Refused("permission denied")

    async with pod.configuration() as sync, running(sync):
        await asyncio.sleep(5)
        monkeypatch.setattr(repository, "list", listing)
        repository.before = refuse
        pod.remove("certs/deep/1.cer")
        await asyncio.sleep(1200)
        assert "permission denied" in pod.condition().message
        hidden = False
        await asyncio.sleep(600)
        assert repository.owned() == {"certs/2.cer": b"2"}
        assert pod.owned() == {"certs/2.cer": b"2"}
        assert pod.condition().level is Level.OK
    assert repository.conflicts() == []


async def test_a_name_the_repository_can_not_hold_does_not_keep_harmony_down(
    node: Node, repository: MemoryRepository
) -> None:
    """The first pull ends without that file, which stays in the status."""
    first = node("first")
    first.write("certs/a:b", "a name SMB refuses")
    first.write("certs/good", "good")

    def refuse(operation: str, path: str) -> None:
        if operation == "create" and ":" in path:
            raise Unsupported("':' can't be in a name on this share; rename the file")

    repository.before = refuse
    async with first.configuration() as sync:
        await sync.take_on()
    assert repository.owned() == {"certs/good": b"good"}
    assert "rename the file" in first.section()["failed"]["certs/a:b"]


async def test_a_refusing_repository_is_asked_seldom_and_told_once(
    node: Node, repository: MemoryRepository, caplog: pytest.LogCaptureFixture
) -> None:
    """Wrong credentials: an attempt every minute or so, one line in the log."""
    caplog.set_level(logging.WARNING)
    first = node("first")
    first.write("conf/Options.xml", "<Options/>")

    def refuse(operation: str, path: str) -> None:
        raise Refused("wrong key; correct accessKey")

    repository.before = refuse
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(3600)
    assert 50 < len(repository.calls) < 300
    assert caplog.text.count("wrong key") == 1
    assert first.condition().message == "wrong key; correct accessKey"


async def test_keys_that_would_leave_home_are_ignored(
    node: Node, repository: MemoryRepository
) -> None:
    """A foreign writer can't reach outside of home, nor what Harmony executes."""
    for path in ("certs/../../evil", "certs//evil", "/certs/evil", "autorun/evil", "certs/a\nb"):
        repository.put(path, b"evil")
    repository.put(".harmony-agent/repo-id", b"id")
    repository.put("certs/good", b"good")
    first = node("first")
    async with first.configuration() as sync:
        await sync.take_on()
    assert first.owned() == {"certs/good": b"good"}
    assert not (first.home.parent / "evil").exists()


async def test_a_listing_that_was_under_way_does_not_undo_what_was_written_meanwhile(
    node: Node, repository: MemoryRepository
) -> None:
    """A slow listing tells nothing about files that were pushed while it ran."""
    pod = node("pod")
    pod.write("AS2/data/1.id", "old")
    async with pod.runtime(list_interval=60) as mirror, running(mirror):
        await asyncio.sleep(5)
        original = repository.list

        async def slow(folder: str = "") -> object:
            answer = await original(folder)
            await asyncio.sleep(20)
            return answer

        repository.list = slow  # type: ignore[method-assign, assignment]
        await asyncio.sleep(66)
        pod.write("AS2/data/1.id", "of another size")
        pod.write("AS2/data/2.id", "2")
        await asyncio.sleep(240)
        assert repository.owned() == {"AS2/data/1.id": b"of another size", "AS2/data/2.id": b"2"}
        assert repository.kept() == []


async def test_names_that_are_no_text_are_shown_all_the_same(
    node: Node, repository: MemoryRepository
) -> None:
    """Status and log survive a file name of arbitrary bytes."""
    first = node("first")
    first.write("certs/bad-\udcff", "x")
    async with first.configuration() as sync:
        await sync.take_on()
    assert list(first.section()["held"]) == ["certs/bad-\\udcff"]


class Killed(BaseException):
    """The agent's process ends here."""


async def test_an_edit_on_top_of_a_write_nobody_learned_of_is_no_conflict(
    node: Node, repository: MemoryRepository
) -> None:
    """Killed after a write and before the base knew: the next process knows its own version, so
    the edit made meanwhile goes on top of it."""
    first = node("first")
    first.write("conf/Options.xml", "<Options/>")
    async with first.configuration() as sync:
        await sync.take_on()

    def killed(operation: str, path: str) -> bool:
        if operation == "replace" and path == "conf/Options.xml":
            raise Killed
        return False

    repository.loses_answer = killed

    async def until_killed() -> None:
        async with first.configuration() as sync, running(sync):
            first.write("conf/Options.xml", "<Options n='1'/>")
            await asyncio.sleep(5)

    with pytest.raises(BaseExceptionGroup):
        await until_killed()
    repository.loses_answer = lambda operation, path: False
    assert repository.owned() == {"conf/Options.xml": b"<Options n='1'/>"}
    first.write("conf/Options.xml", "<Options n='2'/>")
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
    assert repository.owned() == first.owned() == {"conf/Options.xml": b"<Options n='2'/>"}
    assert repository.conflicts() == []


async def test_a_delete_on_top_of_a_write_nobody_learned_of_travels(
    node: Node, repository: MemoryRepository
) -> None:
    """As before, but Harmony deleted the file meanwhile: it does not come back."""
    first = node("first")
    first.write("conf/Options.xml", "<Options/>")
    first.write("hosts/A.xml", "<Host/>")
    async with first.configuration() as sync:
        await sync.take_on()
        first.write("hosts/A.xml", "<Host n='1'/>")
        await sync._side.base.intend({"hosts/A.xml": digest(b"<Host n='1'/>")})
        repository.put("hosts/A.xml", b"<Host n='1'/>")
        first.remove("hosts/A.xml")
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(15)
    assert set(first.owned()) == set(repository.owned()) == {"conf/Options.xml"}


async def test_a_listing_that_takes_long_makes_no_conflict_of_an_own_write(
    node: Node, repository: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before, but the edit is sent before any listing tells that the earlier one arrived."""
    first = node("first")
    first.write("conf/Options.xml", "<Options/>")
    async with first.configuration() as sync:
        await sync.take_on()
        await sync._side.base.intend({"conf/Options.xml": digest(b"<Options n='1'/>")})
    repository.put("conf/Options.xml", b"<Options n='1'/>")
    first.write("conf/Options.xml", "<Options n='2'/>")
    listed = repository.list

    async def slowly(folder: str = "") -> list[Entry]:
        await asyncio.sleep(10)
        return await listed(folder)

    monkeypatch.setattr(repository, "list", slowly)
    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
    assert repository.owned() == first.owned() == {"conf/Options.xml": b"<Options n='2'/>"}
    assert repository.conflicts() == []


async def test_an_edit_during_an_outage_goes_on_top_of_a_write_that_just_arrived(
    node: Node, repository: MemoryRepository
) -> None:
    """The connection broke after the repository had accepted a version, and Harmony wrote the next
    one before it came back: that one stands everywhere, and no conflict is made of it."""
    first = node("first")
    first.write("conf/Options.xml", "<Options/>")

    def breaks(operation: str, path: str) -> bool:
        if operation == "replace" and path == "conf/Options.xml":
            repository.down = True
        return repository.down

    async with first.configuration() as sync, running(sync):
        await asyncio.sleep(5)
        repository.loses_answer = breaks
        first.write("conf/Options.xml", "<Options n='1'/>")
        await asyncio.sleep(5)
        assert repository.owned() == {"conf/Options.xml": b"<Options n='1'/>"}
        first.write("conf/Options.xml", "<Options n='2'/>")
        await asyncio.sleep(5)
        repository.loses_answer = lambda operation, path: False
        repository.down = False
        await asyncio.sleep(60)
    assert repository.owned() == first.owned() == {"conf/Options.xml": b"<Options n='2'/>"}
    assert repository.conflicts() == []
