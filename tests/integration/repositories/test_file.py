"""What only a real file system can show."""

import asyncio
import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path, PurePosixPath

import pytest

from harmony_agent.core.durable import TEMPORARY_PREFIX
from harmony_agent.core.errors import PreconditionFailed, Refused, Unavailable, Unsupported
from harmony_agent.core.open_folders import OpenFolders
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.file import lock as file_lock
from harmony_agent.repositories.file import mounted_folder
from harmony_agent.repositories.folders import LOCK_FILE
from harmony_agent.repositories.interface import Repository, Token
from harmony_agent.settings import model


@pytest.fixture
async def repository(tmp_path: Path) -> AsyncIterator[Repository]:
    """An opened connector to `System` below a folder that exists."""
    settings = model.FileRepository(root=PurePosixPath(tmp_path))
    connector = connect(settings, "System", ca_bundle=None)
    await connector.open()
    yield connector
    await connector.close()


async def test_files_and_folders_are_for_the_group_whatever_the_umask(
    repository: Repository, tmp_path: Path
) -> None:
    """Nodes and Harmony may run under several users of one group; nobody else reads keys."""
    old = os.umask(0o077)
    try:
        token = await repository.create("certs/a", b"")
        await repository.replace("certs/a", b"1", token)
    finally:
        os.umask(old)
    for path, mode in (("", 0o770), ("certs", 0o770), ("certs/a", 0o660), (LOCK_FILE, 0o660)):
        assert (tmp_path / "System" / path).stat().st_mode & 0o777 == mode, path


@pytest.mark.parametrize("how", ["create", "create all", "replace", "replace all"])
async def test_an_edit_in_the_moment_of_a_write_is_another_version(
    repository: Repository, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator may edit a file on the share as soon as it has its name: the writer's token
    is not that of the edit, which so reaches everybody, the writer too."""
    old = await repository.create("a", b"0")
    target = tmp_path / "System" / ("a" if how.startswith("replace") else "b")

    def edited(*_: object) -> None:
        if target.exists() and target.read_bytes() == b"1":
            with target.open("r+b") as file:
                file.write(b"edited")

    monkeypatch.setattr("harmony_agent.repositories.file.connector.sync_directory", edited)
    monkeypatch.setattr(OpenFolders, "sync", edited)
    token: object
    if how == "create":
        token = await repository.create("b", b"1")
    elif how == "create all":
        (token,) = await repository.create_all([("b", b"1")])
    elif how == "replace":
        token = await repository.replace("a", b"1", old)
    else:
        (token,) = await repository.replace_all([("a", b"1", old)])
    entry = await repository.stat(target.name)
    assert entry is not None
    assert entry.token != token


async def test_temporary_files_and_the_lock_are_not_listed_and_can_not_be_named(
    repository: Repository, tmp_path: Path
) -> None:
    """What another node is just writing is no file of the repository."""
    token = await repository.create("a", b"")
    await repository.replace("a", b"1", token)
    (tmp_path / "System" / f"{TEMPORARY_PREFIX}1").write_text("half")
    assert [entry.path for entry in await repository.list()] == ["a"]
    for name in (f"hosts/{TEMPORARY_PREFIX}1", LOCK_FILE):
        with pytest.raises(Unsupported):
            await repository.read(name)


async def test_temporary_files_of_dead_writers_are_removed_after_a_day(
    repository: Repository, tmp_path: Path
) -> None:
    """Fresh ones may still be in use."""
    await repository.create("a", b"")
    fresh, old = (tmp_path / "System" / f"{TEMPORARY_PREFIX}{n}" for n in ("fresh", "old"))
    for path in (fresh, old):
        path.write_text("half")
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    await repository.list()
    assert fresh.exists()
    assert not old.exists()


async def test_links_are_neither_followed_nor_listed(
    repository: Repository, tmp_path: Path
) -> None:
    """A symbolic link could lead anywhere."""
    await repository.create("a", b"")
    (tmp_path / "System" / "link").symlink_to("/etc/passwd")
    (tmp_path / "System" / "folder").symlink_to("/etc")
    assert [entry.path for entry in await repository.list()] == ["a"]
    assert await repository.stat("link") is None


@pytest.mark.parametrize("name", ["certs/a", "certs/deep/a"])
async def test_nothing_is_read_or_written_through_a_linked_folder(
    repository: Repository, tmp_path: Path, name: str
) -> None:
    """It would end up elsewhere: every operation is refused and names the link."""
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere/a").write_bytes(b"theirs")
    (tmp_path / "System").mkdir(exist_ok=True)
    (tmp_path / "System/certs").symlink_to(tmp_path / "elsewhere")
    for attempt in (
        repository.create(f"{name}-new", b"x"),
        repository.replace(name, b"x", Token("t")),
        repository.delete(name, Token("t")),
        repository.stat(name),
        repository.read(name),
        repository.list("certs"),
    ):
        with pytest.raises(Refused, match="System/certs is a symbolic link"):
            await attempt
    assert sorted(path.name for path in (tmp_path / "elsewhere").rglob("*")) == ["a", "deep"]


async def test_a_file_system_without_hard_links_still_creates_exclusively(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure Files over SMB has none."""

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    token = await repository.create("a", b"1")
    assert (await repository.read("a")).token == token
    with pytest.raises(PreconditionFailed):
        await repository.create("a", b"2")
    assert [entry.path for entry in await repository.list()] == ["a"]


async def test_a_full_disk_is_told_and_leaves_the_old_version(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No half file takes the place of a good one, and no rest stays behind."""
    token = await repository.create("a", b"good")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left on device; make room"):
        await repository.replace("a", b"new", token)
    monkeypatch.undo()
    assert (await repository.read("a")).data == b"good"
    assert [path.name for path in (tmp_path / "System").iterdir()] == ["a"]


async def test_a_folder_without_permission_fails_the_listing_as_a_whole(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short listing would read as deletions."""
    await repository.create("hosts/a", b"")
    await repository.create("certs/a", b"")
    scandir = os.scandir

    def denied(path: Path) -> object:
        if Path(path).name == "certs":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(Refused, match=r"'certs'.*Permission denied"):
        await repository.list()


async def test_a_lock_file_that_was_deleted_locks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited for it waits for the one that is there now, or two would hold the lock."""
    lock = tmp_path / "lock"
    waits, entered = threading.Event(), threading.Event()
    pause = time.sleep

    def noted(seconds: float) -> None:
        waits.set()
        pause(seconds)

    monkeypatch.setattr(time, "sleep", noted)

    def enter() -> None:
        with file_lock.locked(lock, 0o600, 60):
            entered.set()

    with contextlib.ExitStack() as holding:
        with file_lock.locked(lock, 0o600, 60):
            waiting = threading.Thread(target=enter)
            waiting.start()
            assert waits.wait(60)
            lock.unlink()
            holding.enter_context(file_lock.locked(lock, 0o600, 60))
        for _ in range(3):  # the first may still be a wait for the file that is gone
            waits.clear()
            assert waits.wait(60)
        assert not entered.is_set()
    assert entered.wait(60)
    waiting.join()


@pytest.mark.parametrize("change", ["replace", "delete"])
async def test_what_a_volume_remembers_of_a_file_is_not_believed(
    repository: Repository, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS tells of a file that another node has replaced what it was a minute ago, unless it is
    opened: that node's version is neither overwritten nor deleted."""
    token = await repository.create("conf/a", b"ours")
    target = tmp_path / "System/conf/a"
    remembered, lstat = target.lstat(), Path.lstat
    (theirs := target.with_name("b")).write_bytes(b"theirs")
    theirs.rename(target)
    monkeypatch.setattr(Path, "lstat", lambda p: remembered if p == target else lstat(p))
    attempt = (
        repository.replace("conf/a", b"ours again", token)
        if change == "replace"
        else repository.delete("conf/a", token)
    )
    with pytest.raises(PreconditionFailed):
        await attempt
    assert target.read_bytes() == b"theirs"


async def test_a_lock_that_is_kept_too_long_is_told(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that hangs with the lock does not hang us."""
    token = await repository.create("a", b"")
    token = await repository.replace("a", b"1", token)
    monkeypatch.setattr(mounted_folder, "LOCK_WAIT", 0.2)
    lock = tmp_path / "System" / LOCK_FILE
    program = (
        f"import fcntl; f = open({str(lock)!r}); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('locked', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(Unavailable, match="another node holds the lock"):
            await repository.replace("a", b"2", token)
        holder.kill()
    await repository.replace("a", b"2", token)


async def test_files_created_together_each_have_their_own_fate(repository: Repository) -> None:
    """Many at the same time share their waits for the disk, and nothing else."""
    await repository.create("certs/taken", b"theirs")
    names = [f"certs/{number // 10}/{number}" for number in range(100)]
    names += ["certs/taken", "certs/taken/below", "x" * 255]
    outcomes = await repository.create_all([(name, name.encode()) for name in names])
    kinds = [type(outcome) for outcome in outcomes[100:]]
    assert kinds == [PreconditionFailed, Unsupported, str]
    listed = {entry.path: entry.token for entry in await repository.list()}
    assert [listed[name] for name in names[:100]] == outcomes[:100]
    for outcome in outcomes[100:102]:
        assert "certs/taken" in str(outcome)


async def test_of_two_nodes_that_replace_the_same_files_one_wins_each(
    repository: Repository, tmp_path: Path
) -> None:
    """Look and change are one step for each of many files, also beside single writers."""
    names = [f"certs/{number}" for number in range(64)]
    old = {name: await repository.create(name, b"old") for name in names}
    settings = model.FileRepository(root=PurePosixPath(tmp_path))
    other = connect(settings, "System", ca_bundle=None)
    single = names[::8]
    ways = await asyncio.gather(
        repository.replace_all([(name, b"one", old[name]) for name in names]),
        other.replace_all([(name, b"two", old[name]) for name in reversed(names)]),
        asyncio.gather(
            *(other.replace(name, b"single", old[name]) for name in single),
            return_exceptions=True,
        ),
    )
    await other.close()
    accepted: dict[str, list[tuple[bytes, object]]] = {name: [] for name in names}
    tried = (names, names[::-1], single)
    for those, data, outcomes in zip(tried, (b"one", b"two", b"single"), ways, strict=True):
        for name, outcome in zip(those, outcomes, strict=True):
            if isinstance(outcome, str):
                accepted[name].append((data, outcome))
            else:
                assert isinstance(outcome, PreconditionFailed)
    found = {name: await repository.read(name) for name in names}
    assert accepted == {name: [(each.data, each.token)] for name, each in found.items()}


async def test_whether_the_volume_folds_case_is_found_out(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one does not; one that finds a file under other letters does. Nothing is left."""
    answers = [repository.folds_case]
    assert list(tmp_path.iterdir()) == []
    exists = Path.exists

    def folding(path: Path) -> bool:
        return exists(path) or exists(path.with_name(path.name.lower()))

    monkeypatch.setattr(Path, "exists", folding)
    await repository.open()
    answers.append(repository.folds_case)
    assert answers == [False, True]
    assert list(tmp_path.iterdir()) == []


async def test_on_a_volume_that_folds_case_a_file_has_one_name(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked for in another case than its own it is not there, though the volume would open it."""
    await repository.create("certs/acme.cer", b"x")
    lstat, exists = Path.lstat, Path.exists

    def folded(path: Path) -> Path:
        return path.with_name(path.name.lower())

    monkeypatch.setattr(Path, "lstat", lambda path: lstat(folded(path)))
    monkeypatch.setattr(Path, "exists", lambda path: exists(path) or exists(folded(path)))
    await repository.open()
    assert repository.folds_case
    assert await repository.stat("certs/ACME.cer") is None
    assert await repository.stat("certs/acme.cer") is not None


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A mounted volume of 4 MiB."""
    volume = tmp_path / "small"
    volume.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(volume)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield volume
    subprocess.run(["umount", "--lazy", str(volume)], check=True)


async def test_a_volume_that_fills_up_is_told_and_goes_on_when_there_is_room(
    small_volume: Path, tmp_path: Path
) -> None:
    """Small files and large ones: the old version stays whole, no rest takes the room."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield b"x" * 1024 * 1024

    settings = model.FileRepository(root=PurePosixPath(small_volume))
    connector = connect(settings, "System", ca_bundle=None)
    await connector.open()
    token = await connector.create("certs/large", b"old")
    with pytest.raises(Unavailable, match="No space left on device; make room"):
        await connector.upload("certs/large", 8 * 1024 * 1024, pieces(), token)
    with pytest.raises(Unavailable, match="No space left on device; make room"):
        await connector.create("certs/b", b"x" * 5 * 1024 * 1024)
    assert [entry.path for entry in await connector.list()] == ["certs/large"]
    assert (await connector.read("certs/large")).data == b"old"
    await connector.create("certs/b", b"x" * 3 * 1024 * 1024)
    await connector.close()
