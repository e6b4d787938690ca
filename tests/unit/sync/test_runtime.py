"""Runtime mirror: restore, mirroring under the lease, what is set aside."""

import asyncio
from collections.abc import Callable

import pytest

from harmony_agent.core.errors import Refused
from harmony_agent.lifecycle.health import Level
from tests.unit.sync.bench import Bench, running
from tests.unit.sync.memory_repository import MemoryRepository

pytestmark = pytest.mark.looptime

Node = Callable[[str], Bench]


async def test_a_new_home_gets_back_what_the_last_one_left(
    node: Node, repository: MemoryRepository
) -> None:
    """Message IDs and receipts of an earlier pod arrive; what is no runtime file does not."""
    repository.put("AS2/data/00000001.id", b"1@acme")
    repository.put("AS2/mdn/received/archive/1.mdn", b"processed")
    repository.put("autorun/evil.sh", b"rm -rf /")
    pod = node("pod")
    async with pod.runtime() as mirror:
        await mirror.take_on()
    assert pod.owned() == {
        "AS2/data/00000001.id": b"1@acme",
        "AS2/mdn/received/archive/1.mdn": b"processed",
    }


async def test_a_message_id_is_mirrored_within_two_seconds(
    node: Node, repository: MemoryRepository
) -> None:
    """New, changed and deleted runtime files follow at once."""
    pod = node("pod")
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(5)
        pod.write("AS2/data/1.id", "1@acme")
        pod.write("AS3/data/AS3msgs.txt", "1\n")
        await asyncio.sleep(1.5)
        assert repository.owned() == {"AS2/data/1.id": b"1@acme", "AS3/data/AS3msgs.txt": b"1\n"}
        pod.write("AS3/data/AS3msgs.txt", "1\n2\n")
        pod.remove("AS2/data/1.id")
        await asyncio.sleep(1.5)
        assert repository.owned()["AS3/data/AS3msgs.txt"] == b"1\n2\n"
        await asyncio.sleep(2)
        assert repository.owned() == {"AS3/data/AS3msgs.txt": b"1\n2\n"}


async def test_steady_traffic_puts_no_message_id_off(
    node: Node, repository: MemoryRepository
) -> None:
    """With a new file every tenth of a second each is mirrored within two seconds all the same."""
    pod = node("pod")
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(5)
        for number in range(100):
            pod.write(f"AS2/data/{number}.id", f"{number}@acme")
            await asyncio.sleep(0.1)
            due = {f"AS2/data/{n}.id" for n in range(number - 20)}
            assert due <= repository.owned().keys()


async def test_nothing_is_written_without_the_lease(
    node: Node, repository: MemoryRepository
) -> None:
    """While the folder belongs to another nothing is pushed; once it is ours everything is, within
    two seconds."""
    pod = node("pod")
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(5)
        pod.may_write = False
        pod.write("AS2/data/1.id", "1@acme")
        pod.write("AS2/data/2.id", "2@acme")
        await asyncio.sleep(120)
        assert repository.owned() == {}
        assert pod.condition("runtime").level is Level.OK
        pod.may_write = True
        await asyncio.sleep(2)
        assert len(repository.owned()) == 2


async def test_the_last_push_waits_for_the_lease_and_tells_what_it_could_not_push(
    node: Node, repository: MemoryRepository
) -> None:
    """After an outage the lease comes back a moment after the server: that is no success yet. If it
    does not come back in time, what stays behind is counted."""
    pod = node("pod")
    async with pod.runtime() as mirror:
        async with running(mirror):
            await asyncio.sleep(5)
        pod.may_write = False
        pod.write("AS2/data/1.id", "1@acme")
        pod.write("AS2/data/2.id", "2@acme")
        assert await mirror.flush(5) == 2
        assert repository.owned() == {}
        flushing = asyncio.create_task(mirror.flush(20))
        await asyncio.sleep(5)
        pod.may_write = True
        assert await flushing == 0
    assert len(repository.owned()) == 2


async def test_a_home_is_not_taken_on_before_the_folder_is_ours_again(
    node: Node, repository: MemoryRepository
) -> None:
    """A lease that is lost meanwhile must not leave behind what was deleted here: in the next home
    a message that was sent would be sent again."""
    pod = node("pod")
    pod.write("AS3/unsent/1", "pending")
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(5)
    pod.remove("AS3/unsent/1")
    for path in pod.state.glob("sync-*"):
        path.unlink()
    pod.may_write = False
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(10)
        assert "folder" in pod.condition("runtime").message
        pod.may_write = True
        await asyncio.sleep(60)
    assert repository.owned() == {}
    assert repository.kept() == [b"pending"]


async def test_local_wins_and_the_remote_copy_is_set_aside(
    node: Node, repository: MemoryRepository
) -> None:
    """Where both sides exist and differ nothing local is overwritten and nothing remote is lost."""
    repository.put("AS2/data/1.id", b"remote")
    pod = node("pod")
    pod.write("AS2/data/1.id", "local")
    async with pod.runtime() as mirror:
        await mirror.take_on()
    assert pod.owned()["AS2/data/1.id"] == b"local"
    assert repository.owned()["AS2/data/1.id"] == b"local"
    assert repository.kept() == [b"remote"]


async def test_what_was_deleted_while_the_agent_was_down_stays_deleted(
    node: Node, repository: MemoryRepository
) -> None:
    """A pending message that was sent meanwhile does not come back."""
    pod = node("pod")
    pod.write("AS3/unsent/1", "pending")
    pod.write("AS2/data/1.id", "1@acme")
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(5)
    pod.remove("AS3/unsent/1")
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(5)
    assert "AS3/unsent/1" not in pod.owned()
    assert repository.owned() == {"AS2/data/1.id": b"1@acme"}


async def test_a_lost_base_beside_a_restored_home_brings_nothing_back(
    node: Node, repository: MemoryRepository
) -> None:
    """What this home lacks was deleted in it: the repository's copy is set aside."""
    pod = node("pod")
    pod.write("AS3/unsent/1", "pending")
    pod.write("AS2/data/1.id", "1@acme")
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(5)
    pod.remove("AS3/unsent/1")
    for path in pod.state.glob("sync-*"):
        path.unlink()
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(10)
    assert "AS3/unsent/1" not in pod.owned()
    assert repository.owned() == {"AS2/data/1.id": b"1@acme"}
    assert repository.kept() == [b"pending"]


async def test_a_foreign_change_in_our_folder_is_overruled_and_kept(
    node: Node, repository: MemoryRepository
) -> None:
    """One writer: what a stranger changes or deletes is put right, what he adds is left alone."""
    pod = node("pod")
    pod.write("AS2/data/1.id", "1@acme")
    pod.write("AS2/data/2.id", "2@acme")
    async with pod.runtime(list_interval=60) as mirror, running(mirror):
        await asyncio.sleep(5)
        repository.put("AS2/data/1.id", b"vandal")
        del repository.files["AS2/data/2.id"]
        repository.put("AS2/data/3.id", b"stranger")
        await asyncio.sleep(80)
        assert repository.owned() == {
            "AS2/data/1.id": b"1@acme",
            "AS2/data/2.id": b"2@acme",
            "AS2/data/3.id": b"stranger",
        }
        assert repository.kept() == [b"vandal"]
        assert "AS2/data/3.id" not in pod.owned()


async def test_an_emptied_repository_is_filled_again(
    node: Node, repository: MemoryRepository
) -> None:
    """A server that lost everything gets this host's files back and deletes nothing here."""
    pod = node("pod")
    for number in range(30):
        pod.write(f"AS2/data/{number}.id", f"{number}@acme")
    async with pod.runtime(list_interval=60) as mirror, running(mirror):
        await asyncio.sleep(5)
        repository.files.clear()
        await asyncio.sleep(80)
    assert len(repository.owned()) == len(pod.owned()) == 30


async def test_a_file_that_fails_stops_no_other(node: Node, repository: MemoryRepository) -> None:
    """Refused files are told and retried; their neighbors travel at once."""
    pod = node("pod")

    def refuse(operation: str, path: str) -> None:
        if "bad" in path and operation == "create":
            raise Refused("no permission for this one")

    repository.before = refuse
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(5)
        pod.write("AS2/data/bad.id", "bad")
        await asyncio.sleep(3)
        for number in range(5):
            pod.write(f"AS2/data/{number}.id", f"{number}@acme")
            await asyncio.sleep(1.5)
            assert f"AS2/data/{number}.id" in repository.files
        assert "no permission" in pod.section("runtime")["failed"]["AS2/data/bad.id"]
        assert pod.condition("runtime").level is Level.TROUBLE
        assert repository.calls.count(("create", "AS2/data/bad.id")) < 10
        pod.write("AS2/data/bad.id2", "bad as well")
        await asyncio.sleep(20)
        pod.write("AS2/data/good.id", "good")
        await asyncio.sleep(1.5)
        assert "AS2/data/good.id" in repository.files
        repository.before = lambda operation, path: None
        await asyncio.sleep(65)
        assert "AS2/data/bad.id" in repository.files
        assert pod.condition("runtime").level is Level.OK
