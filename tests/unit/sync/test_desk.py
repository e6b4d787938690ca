"""What a person does with kept versions."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Callable

import pytest

from harmony_agent.core.errors import Absent, Refused, Unavailable
from harmony_agent.sync.configuration import ConfigurationSync
from tests.unit.sync.bench import Bench, running
from tests.unit.sync.memory_repository import MemoryRepository

PATH = "hosts/a.xml"
THEIRS, OURS = "<theirs/>", "<ours/>"


@pytest.fixture
async def bench(node: Callable[[str], Bench]) -> Bench:
    """A node whose home is not taken on yet."""
    return node("node-1")


@pytest.fixture
async def sync(bench: Bench) -> AsyncIterator[ConfigurationSync]:
    """Its sync, taken on with the version of another node, beside ours in the conflict store."""
    bench.write(PATH, THEIRS)
    async with bench.configuration() as sync:
        await sync.take_on()
        await sync.conflicts.keep(PATH, OURS.encode())
        yield sync


async def test_a_kept_version_is_listed_and_shown(sync: ConfigurationSync) -> None:
    """With its content as it is, and with the file that stands in its place."""
    [kept] = (await sync.desk.list())["conflicts"]
    assert (kept["path"], kept["host"], kept["sizeBytes"]) == (PATH, "node-1", len(OURS))
    for wanted in (PATH, kept["key"]):
        shown = await sync.desk.show(wanted)
        assert b64decode(shown["content"]) == OURS.encode()
        assert b64decode(shown["present"]) == THEIRS.encode()


async def test_one_too_large_to_show_stays_where_it_is(
    sync: ConfigurationSync, repository: MemoryRepository
) -> None:
    """The error says where it lies."""
    key = await sync.conflicts.keep("certs/large", bytes(16 * 1024 * 1024 + 1))
    with pytest.raises(Refused, match="memory://test"):
        await sync.desk.show(key)
    assert key in repository.files


@pytest.mark.looptime
async def test_a_restored_version_travels_like_any_change(
    sync: ConfigurationSync, bench: Bench, repository: MemoryRepository
) -> None:
    """Home has it at once, the repository soon; what it replaced is kept in its place."""
    done = await sync.desk.restore(PATH)
    assert bench.owned() == {PATH: OURS.encode()}
    assert repository.conflicts() == [(PATH, THEIRS.encode())]
    assert done["replaced"] in repository.files
    async with running(sync):
        bench.hints.give(PATH)
        await asyncio.sleep(5)
    assert repository.owned() == {PATH: OURS.encode()}
    # And back again.
    await sync.desk.restore(PATH)
    assert bench.owned() == {PATH: THEIRS.encode()}
    assert repository.conflicts() == [(PATH, OURS.encode())]


async def test_a_version_of_a_file_that_is_gone_comes_back(
    sync: ConfigurationSync, bench: Bench, repository: MemoryRepository
) -> None:
    """Nothing is replaced then."""
    bench.remove(PATH)
    assert (await sync.desk.restore(PATH))["replaced"] is None
    assert bench.owned() == {PATH: OURS.encode()}
    assert repository.conflicts() == []


async def test_what_stands_there_already_is_not_written_again(
    sync: ConfigurationSync, bench: Bench, repository: MemoryRepository
) -> None:
    """Only the entry goes."""
    bench.write(PATH, OURS)
    before = (bench.home / PATH).stat()
    assert (await sync.desk.restore(PATH))["replaced"] is None
    after = (bench.home / PATH).stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
    assert repository.conflicts() == []


async def test_nothing_is_restored_over_what_can_not_be_kept(
    sync: ConfigurationSync, bench: Bench, repository: MemoryRepository
) -> None:
    """A symbolic link, or a store that can't be written: all stays as it is."""

    def no_writes(operation: str, path: str) -> None:
        if operation == "create":
            raise Unavailable("the repository takes nothing")

    repository.before = no_writes
    with pytest.raises(Unavailable):
        await sync.desk.restore(PATH)
    assert bench.owned() == {PATH: THEIRS.encode()}
    (bench.home / PATH).unlink()
    (bench.home / PATH).symlink_to(bench.home / "elsewhere")
    with pytest.raises(Refused, match="no regular file"):
        await sync.desk.restore(PATH)
    assert repository.conflicts() == [(PATH, OURS.encode())]


async def test_only_what_this_node_shares_is_restored(
    sync: ConfigurationSync, bench: Bench, repository: MemoryRepository
) -> None:
    """Whoever can write the repository can't have us write Harmony's code."""
    await sync.conflicts.keep("lib/harmony.jar", b"code")
    with pytest.raises(Refused, match="no file that this node shares"):
        await sync.desk.restore("lib/harmony.jar")
    assert bench.owned() == {PATH: THEIRS.encode()}
    assert len(repository.conflicts()) == 2


async def test_a_removed_version_is_gone_for_good(
    sync: ConfigurationSync, bench: Bench, repository: MemoryRepository
) -> None:
    """Home is not touched; a second time there is none."""
    await sync.desk.remove(PATH)
    assert repository.conflicts() == []
    assert bench.owned() == {PATH: THEIRS.encode()}
    for command in (sync.desk.remove, sync.desk.restore, sync.desk.show):
        with pytest.raises(Absent):
            await command(PATH)


async def test_before_the_first_pull_nothing_is_restored(bench: Bench) -> None:
    """Home may still be the image's."""
    async with bench.configuration() as sync:
        await sync.conflicts.keep(PATH, OURS.encode())
        with pytest.raises(Unavailable, match="first pull"):
            await sync.desk.restore(PATH)
