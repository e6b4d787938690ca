"""Many files at once: each whole and on the disk before it has its name, each with its own fate."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from harmony_agent.core.group_commit import Made, NewFile, create_together, replace_together
from harmony_agent.core.open_folders import OpenFolders
from harmony_agent.core.volume_sync import VolumeSync


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[OpenFolders]:
    """Those of the test; one that is missing is not made."""
    folders = OpenFolders(tmp_path)
    yield folders
    folders.close()


def create(folders: OpenFolders, files: Mapping[str, bytes]) -> list[Made | Exception]:
    """Make files with these contents."""
    new = [NewFile(path, data, 0o640) for path, data in files.items()]
    return create_together(new, folders, VolumeSync())


def everything(folder: Path) -> dict[str, bytes]:
    """All files below `folder`."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_file_is_made_and_described_as_it_lies_there(
    tmp_path: Path, folders: OpenFolders
) -> None:
    """The outcomes are in order, permissions are those asked for, and nothing is left beside."""
    (tmp_path / "deep").mkdir()
    files = {"a": b"1", "deep/b": b"22", "c": b""}
    old = os.umask(0o077)
    try:
        outcomes = create(folders, files)
    finally:
        os.umask(old)
    for (path, data), outcome in zip(files.items(), outcomes, strict=True):
        assert isinstance(outcome, Made)
        found = (tmp_path / path).stat()
        assert outcome == (found.st_ino, len(data), found.st_mtime_ns, found.st_ctime_ns)
        assert found.st_mode & 0o777 == 0o640
    assert everything(tmp_path) == files


def test_one_that_fails_fails_alone(tmp_path: Path, folders: OpenFolders) -> None:
    """A name that is taken, a folder that is missing, and a link are told where they belong."""
    (tmp_path / "taken").write_bytes(b"theirs")
    (tmp_path / "link").symlink_to("/tmp")
    paths = ("a", "taken", "missing/b", "link/b", "c")
    outcomes = create(folders, dict.fromkeys(paths, b"ours"))
    assert [type(outcome) for outcome in outcomes] == [
        Made,
        FileExistsError,
        FileNotFoundError,
        NotADirectoryError,
        Made,
    ]
    assert everything(tmp_path) == {"a": b"ours", "taken": b"theirs", "c": b"ours"}


def test_no_file_has_its_name_before_all_are_on_the_disk(
    tmp_path: Path, folders: OpenFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content first, names second, directories last; one sync for each file and directory."""
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def synced(handle: int) -> None:
        steps.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    def linked(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        steps.append(f"placed {target}")
        link(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)
    create(folders, {"a": b"1", "b": b"2"})
    assert [step.partition("tmp-")[0] for step in steps] == [
        ".harmony-agent-",
        ".harmony-agent-",
        "placed a",
        "placed b",
        tmp_path.name,
    ]


def test_a_disk_that_fails_leaves_no_file_behind(
    tmp_path: Path, folders: OpenFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be synced never gets its name."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    outcomes = create(folders, {"a": b"1"})
    assert isinstance(outcomes[0], OSError)
    assert everything(tmp_path) == {}


def test_a_disk_that_takes_only_a_part_is_asked_again(
    tmp_path: Path, folders: OpenFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """write(2) may write less than it was given: no file is cut short by that."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))
    outcomes = create(folders, {"a": b"ten  bytes"})
    assert isinstance(outcomes[0], Made)
    assert everything(tmp_path) == {"a": b"ten  bytes"}


def test_a_name_that_may_be_lost_again_is_a_failure(
    folders: OpenFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the directory's sync nobody may rely on the file."""

    def broken(_: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(folders, "sync", broken)
    outcomes = create(folders, {"a": b"1"})
    assert isinstance(outcomes[0], OSError)


def test_without_hard_links_a_name_is_looked_for_and_taken_alone(
    tmp_path: Path, folders: OpenFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's lock is held for just that step, and a name that is taken stays as it is."""
    (tmp_path / "taken").write_bytes(b"theirs")
    (tmp_path / "dangling").symlink_to("nowhere")
    seen: list[str] = []

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    @contextlib.contextmanager
    def alone() -> Iterator[None]:
        seen.append(f"before: {sorted(everything(tmp_path).values())}")
        yield
        seen.append("after")

    monkeypatch.setattr(os, "link", no_links)
    new = [NewFile(path, b"ours", 0o600) for path in ("a", "taken", "dangling")]
    outcomes = create_together(new, folders, VolumeSync(), alone)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Made, FileExistsError, FileExistsError]
    assert len(seen) == 4, "once for each, left in order only where the name was free"
    assert everything(tmp_path) == {"a": b"ours", "taken": b"theirs"}


def test_files_take_the_place_of_others_in_one_go(tmp_path: Path, folders: OpenFolders) -> None:
    """The lock is held once, around all that is asked and done; who refuses keeps his old file."""
    for name in "abc":
        (tmp_path / name).write_bytes(b"old")
    steps: list[str] = []

    @contextlib.contextmanager
    def alone() -> Iterator[None]:
        steps.append("locked")
        yield
        steps.append("free")

    def change(file: NewFile, put_over: Callable[[], None]) -> None:
        steps.append(f"{file.path} {(tmp_path / file.path).read_bytes().decode()}")
        if file.path == "b":
            raise PermissionError(errno.EACCES, "not this one")
        put_over()

    new = [NewFile(name, b"new one", 0o600) for name in ("a", "b", "missing/x", "c")]
    outcomes = replace_together(new, folders, VolumeSync(), change, alone)
    assert steps == ["locked", "a old", "b old", "c old", "free"]
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Made, PermissionError, FileNotFoundError, Made]
    assert everything(tmp_path) == {"a": b"new one", "b": b"old", "c": b"new one"}
    for name, outcome in (("a", outcomes[0]), ("c", outcomes[3])):
        found = (tmp_path / name).stat()
        assert outcome == (found.st_ino, 7, found.st_mtime_ns, found.st_ctime_ns)
        assert found.st_mode & 0o777 == 0o600


def test_what_is_not_on_the_disk_replaces_nothing(
    tmp_path: Path, folders: OpenFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves the old file, and nobody is asked whether it may go."""
    (tmp_path / "a").write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def change(file: NewFile, put_over: Callable[[], None]) -> None:
        pytest.fail("it was not written")

    monkeypatch.setattr(os, "fsync", full)
    outcomes = replace_together([NewFile("a", b"1", 0o640)], folders, VolumeSync(), change)
    assert isinstance(outcomes[0], OSError)
    assert everything(tmp_path) == {"a": b"old"}


def test_a_lock_that_can_not_be_had_leaves_everything_as_it_was(
    tmp_path: Path, folders: OpenFolders
) -> None:
    """All fail with its error, and nothing stays beside them."""
    (tmp_path / "a").write_bytes(b"old")

    def never() -> contextlib.AbstractContextManager[object]:
        raise TimeoutError("another node holds it")

    def change(file: NewFile, put_over: Callable[[], None]) -> None:
        put_over()

    with pytest.raises(TimeoutError):
        replace_together([NewFile("a", b"1", 0o640)], folders, VolumeSync(), change, never)
    assert everything(tmp_path) == {"a": b"old"}
