"""Files too large for memory obey the same rules as small ones."""

import os
from pathlib import Path

import pytest

from harmony_agent.core.errors import Absent, AgentError, PreconditionFailed, Unavailable
from harmony_agent.repositories.interface import Content
from harmony_agent.repositories.token import Token
from harmony_agent.sync.applying.transfers import Transfers, memory
from harmony_agent.sync.conflicts.store import ConflictStore
from harmony_agent.sync.decisions.states import LocalFile, RemoteFile, digest
from harmony_agent.sync.home.files import HomeFiles
from tests.unit.sync.bench import InlineWorkers
from tests.unit.sync.memory_repository import MemoryRepository

SMALL = b"small"
LARGE = os.urandom(9 * 1024 * 1024)
OTHER = os.urandom(9 * 1024 * 1024 + 1)


async def at_once() -> None:
    """Nothing to wait for."""


def ignored() -> None:
    """Nobody waits for the repository."""


class Ends:
    """A home, a repository, and what moves files between them."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.kept = folder / "kept"
        self.home.mkdir()
        self.repository = MemoryRepository()
        self.moved: list[int] = []
        self.transfers = Transfers(
            repository=self.repository,
            files=HomeFiles(self.home, self.kept),
            workers=InlineWorkers(),
            on_progress=self._progressed,
        )

    def _progressed(self, size: int) -> None:
        self.moved.append(size)

    def here(self, path: str, data: bytes) -> LocalFile:
        """Harmony writes a file; as a scan would describe it."""
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        status = target.stat()
        return LocalFile(digest(data), status.st_size, status.st_mtime_ns, status.st_ino)

    def there(self, path: str, data: bytes) -> RemoteFile:
        """Another node writes a file; as a listing would describe it."""
        return RemoteFile(self.repository.put(path, data), len(data))

    def files(self) -> dict[str, bytes]:
        """Content of home by path."""
        return {
            str(path.relative_to(self.home)): path.read_bytes()
            for path in self.home.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    """Both empty."""
    return Ends(tmp_path)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_a_file_travels_both_ways(ends: Ends, data: bytes) -> None:
    """What is sent is what was there, what is fetched is described as a scan finds it."""
    token = await ends.transfers.send("certs/a", ends.here("certs/a", data), None, at_once)
    assert ends.repository.files["certs/a"] == Content(data, token)
    (ends.home / "certs/a").unlink()
    remote = RemoteFile(token, len(data))
    local, found = await ends.transfers.fetch("certs/a", remote, on_read=ignored)
    assert found == token
    assert ends.files() == {"certs/a": data}
    status = (ends.home / "certs/a").stat()
    assert local == LocalFile(digest(data), len(data), status.st_mtime_ns, status.st_ino)
    assert sum(ends.moved) == 2 * len(data), "all that moves is told"
    assert (len(ends.moved) > 2) == (data is LARGE), "long transfers give signs of life"


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_nothing_unexpected_is_replaced(ends: Ends, data: bytes) -> None:
    """Neither here nor there, and no temporary file stays."""
    local = ends.here("certs/a", data)
    remote = ends.there("certs/a", data + b"theirs")
    for token in (None, Token("stale")):
        with pytest.raises(PreconditionFailed):
            await ends.transfers.send("certs/a", local, token, at_once)
    with pytest.raises(PreconditionFailed):
        await ends.transfers.fetch("certs/a", remote, on_read=ignored)
    stale = LocalFile(local.sha256, local.size, local.mtime_ns - 1, local.inode)
    with pytest.raises(PreconditionFailed):
        await ends.transfers.exchange("certs/a", remote, stale, keep=False)
    assert ends.repository.owned() == {"certs/a": data + b"theirs"}
    assert ends.files() == {"certs/a": data}


async def test_a_long_transfer_ends_with_the_right_to_write(ends: Ends) -> None:
    """A lease that runs out while a large file is sent ends the sending: no version appears of
    what another owner may be writing by then."""
    asked = 0

    async def until_the_lease_ends() -> None:
        nonlocal asked
        asked += 1
        if asked > 2:
            raise Unavailable("the folder belongs to another owner")

    local = ends.here("certs/a", LARGE)
    with pytest.raises(Unavailable, match="another owner"):
        await ends.transfers.send("certs/a", local, None, until_the_lease_ends)
    assert ends.repository.owned() == {}


async def test_of_files_that_travel_together_each_has_its_own_fate(ends: Ends) -> None:
    """What is no longer what the caller believes is left alone, here and there; the others move."""
    names = ("certs/a", "certs/changed", "certs/gone", "certs/taken", "certs/b")
    files = [(name, ends.here(name, SMALL)) for name in names]
    ends.here("certs/changed", b"other")
    (ends.home / "certs/gone").unlink()
    ends.there("certs/taken", b"theirs")
    sent = await ends.transfers.send_all(files, None, ends.repository)
    assert [type(each) for each in sent] == [
        str,
        PreconditionFailed,
        Absent,
        PreconditionFailed,
        str,
    ]
    assert ends.repository.owned() == {
        "certs/a": SMALL,
        "certs/b": SMALL,
        "certs/taken": b"theirs",
    }
    assert sum(ends.moved) == 2 * len(SMALL), "what was refused has not moved"

    ends.there("certs/new", SMALL)
    paths = ["certs/new", "certs/missing", "certs/a"]
    fetched = await ends.transfers.fetch_all(paths, ends.repository)
    local, *others = fetched
    assert not isinstance(local, AgentError)
    status = (ends.home / "certs/new").stat()
    assert local[0] == LocalFile(digest(SMALL), 5, status.st_mtime_ns, status.st_ino)
    assert local[1] == ends.repository.files["certs/new"].token
    assert [type(each) for each in others] == [Absent, PreconditionFailed]
    assert sum(ends.moved) == 4 * len(SMALL)


async def test_of_edits_that_travel_together_each_has_its_own_fate(ends: Ends) -> None:
    """Only the versions expected are replaced; the others move."""
    names = ("certs/a", "certs/changed", "certs/b")
    tokens = {name: ends.there(name, b"other").token for name in names}
    ends.there("certs/changed", b"theirs")
    files = [(name, ends.here(name, SMALL)) for name in names]
    sent = await ends.transfers.send_all(files, tokens, ends.repository)
    assert [type(each) for each in sent] == [str, PreconditionFailed, str]
    there = {"certs/a": SMALL, "certs/changed": b"theirs", "certs/b": SMALL}
    assert ends.repository.owned() == there


async def test_of_edits_that_arrive_together_each_has_its_own_fate(ends: Ends) -> None:
    """What is the same already, has changed here or is gone there is left alone; of the others a
    copy stays where that is wanted."""
    names = ("certs/a", "certs/same", "certs/changed", "certs/gone", "certs/news")
    files = [(name, ends.here(name, SMALL), name == "certs/news") for name in names]
    ends.here("certs/changed", b"other")
    tokens = {name: ends.there(name, b"theirs").token for name in names if name != "certs/gone"}
    tokens["certs/same"] = ends.there("certs/same", SMALL).token
    found = await ends.transfers.exchange_all(files, ends.repository)
    assert [type(each) for each in found] == [tuple, tuple, PreconditionFailed, Absent, tuple]
    for (name, _, _), each in zip(files, found, strict=True):
        if isinstance(each, tuple):
            assert each[1] == tokens[name]
            status = (ends.home / name).stat()
            assert (each[0].mtime_ns, each[0].inode) == (status.st_mtime_ns, status.st_ino)
    assert ends.files() == {
        "certs/a": b"theirs",
        "certs/same": SMALL,
        "certs/changed": b"other",
        "certs/gone": SMALL,
        "certs/news": b"theirs",
    }
    assert [path.name for path in ends.kept.rglob("*") if path.is_file()] == ["news"]


async def test_nothing_is_asked_for_in_vain(ends: Ends) -> None:
    """Of a convoy of which nothing can travel the other side hears nothing."""
    gone = ends.here("certs/a", SMALL)
    (ends.home / "certs/a").unlink()
    sent = await ends.transfers.send_all([("certs/a", gone)], None, ends.repository)
    assert isinstance(sent[0], Absent)
    assert ends.repository.calls == []
    fetched = await ends.transfers.fetch_all(["certs/a"], ends.repository)
    assert isinstance(fetched[0], Absent)
    assert ends.files() == {}


async def test_a_large_file_that_changes_while_it_is_sent_is_not_sent(ends: Ends) -> None:
    """The repository keeps what it had."""
    local = ends.here("certs/a", LARGE)
    token = ends.repository.put("certs/a", OTHER)

    def harmony_writes(_: int) -> None:
        with (ends.home / "certs/a").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(bytes([LARGE[-1] ^ 1]))

    ends.transfers._on_progress = harmony_writes
    with pytest.raises(PreconditionFailed):
        await ends.transfers.send("certs/a", local, token, at_once)
    assert ends.repository.owned() == {"certs/a": OTHER}


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_what_an_exchange_replaces_is_kept(ends: Ends, data: bytes) -> None:
    """With `keep` a copy stays in the state directory; the same content is not written again."""
    local = ends.here("certs/a", data)
    same = ends.there("certs/a", data)
    exchange = ends.transfers.exchange
    assert await exchange("certs/a", same, local, keep=True) == (local, same.token)
    assert not ends.kept.exists()
    remote = ends.there("certs/a", OTHER)
    await exchange("certs/a", remote, local, keep=True)
    assert ends.files() == {"certs/a": OTHER}
    assert (ends.kept / "certs/a").read_bytes() == data


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_versions_are_set_aside_and_kept_in_the_conflict_store(
    ends: Ends, data: bytes
) -> None:
    """Whole copies of exactly the version that is told."""
    remote = ends.there("certs/a", data)
    aside, token = await ends.transfers.set_aside("certs/a", remote)
    assert token == remote.token
    assert ends.repository.files[aside].data == data
    local = ends.here("certs/b", data)
    await ends.transfers.keep_in_conflict(ConflictStore(ends.repository, "n"), "certs/b", local)
    assert ends.repository.conflicts() == [("certs/b", data)]
    assert (await ends.transfers.look("certs/a", remote)).sha256 == digest(data)


async def test_a_download_that_breaks_off_leaves_nothing(ends: Ends) -> None:
    """No half file gets its name, no rest stays."""
    remote = ends.there("certs/a", LARGE)

    def cut(_: int) -> None:
        raise Unavailable("the line is cut")

    ends.transfers._on_progress = cut
    with pytest.raises(Unavailable):
        await ends.transfers.fetch("certs/a", remote, on_read=ignored)
    assert ends.files() == {}


async def test_what_is_gone_is_told(ends: Ends) -> None:
    """Absent, here or there, large or not."""
    gone = RemoteFile(Token("t"), len(LARGE))
    with pytest.raises(Absent):
        await ends.transfers.fetch("certs/a", gone, on_read=ignored)
    local = ends.here("certs/a", LARGE)
    (ends.home / "certs/a").unlink()
    with pytest.raises(Absent):
        await ends.transfers.send("certs/a", local, None, at_once)
    assert ends.repository.files == {}


def test_a_large_file_takes_no_more_memory_than_its_pieces() -> None:
    """Many of them may travel at once."""
    assert memory(1000) == 1000
    assert memory(1024**3) == memory(10 * 1024**3) <= 16 * 1024 * 1024
