"""Changes to home happen whole, only over what was expected, and keep what they replace."""

import errno
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harmony_agent.core import durable
from harmony_agent.core.errors import (
    Absent,
    AgentError,
    PreconditionFailed,
    Refused,
    Unavailable,
    Unsupported,
)
from harmony_agent.core.open_folders import OpenFolders
from harmony_agent.sync.decisions.states import LocalFile, digest
from harmony_agent.sync.home.files import HomeFiles, SmallArrival
from harmony_agent.sync.home.local_errors import local_errors
from harmony_agent.sync.home.streams import CHUNK
from tests.unit.sync.homes import exchange


@pytest.fixture
def files(tmp_path: Path) -> HomeFiles:
    """An empty home and a folder for what is replaced."""
    (tmp_path / "home").mkdir()
    return HomeFiles(tmp_path / "home", tmp_path / "kept")


def write(files: HomeFiles, path: str, data: bytes) -> LocalFile:
    """Write a file as Harmony does; the file as a scan would describe it."""
    target = files.home / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    status = target.stat()
    return LocalFile(digest(data), status.st_size, status.st_mtime_ns, status.st_ino)


def create(files: HomeFiles, path: str, data: bytes) -> LocalFile:
    """Have a new file put into home; raises what hindered it."""
    (outcome,) = files.create_all([(path, data)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def everything(folder: Path) -> dict[str, bytes]:
    """All files below `folder`."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_new_file_is_described_as_it_lies_there(files: HomeFiles) -> None:
    """The answer is what a scan would find, so that the next look sees no change."""
    made = create(files, "certs/deep/a.cer", b"data")
    status = (files.home / "certs/deep/a.cer").stat()
    assert made == LocalFile(digest(b"data"), 4, status.st_mtime_ns, status.st_ino)
    assert status.st_mode & 0o777 == 0o600


def test_a_file_that_appeared_meanwhile_is_not_overwritten(files: HomeFiles) -> None:
    """Creating refuses, and leaves nothing beside."""
    write(files, "certs/a", b"Harmony's")
    with pytest.raises(PreconditionFailed):
        create(files, "certs/a", b"ours")
    assert everything(files.home) == {"certs/a": b"Harmony's"}


def test_without_hard_links_nothing_is_overwritten_either(
    files: HomeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Volumes that know no links get a check and a rename."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    create(files, "certs/a", b"first")
    with pytest.raises(PreconditionFailed):
        create(files, "certs/a", b"second")
    assert everything(files.home) == {"certs/a": b"first"}


@pytest.mark.parametrize("what", ["exchange", "withdraw"])
def test_a_file_that_changed_meanwhile_is_left_alone(files: HomeFiles, what: str) -> None:
    """The version expected must still stand there, by content and by stat."""
    expected = write(files, "conf/Options.xml", b"as planned for")
    write(files, "conf/Options.xml", b"changed since")
    change: dict[str, Callable[[], object]] = {
        "exchange": lambda: exchange(files, "conf/Options.xml", b"ours", expected, keep=True),
        "withdraw": lambda: files.withdraw("conf/Options.xml", expected, keep=True),
    }
    with pytest.raises(PreconditionFailed):
        change[what]()
    assert everything(files.home) == {"conf/Options.xml": b"changed since"}


def test_a_change_between_reading_and_renaming_is_seen(
    files: HomeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last check comes after everything slow."""
    expected = write(files, "conf/Options.xml", b"as planned for")
    fsync = os.fsync

    def harmony_writes(handle: int) -> None:
        fsync(handle)
        (files.home / "conf/Options.xml").write_bytes(b"at the last moment")

    monkeypatch.setattr("os.fsync", harmony_writes)
    with pytest.raises(PreconditionFailed):
        exchange(files, "conf/Options.xml", b"ours", expected, keep=True)
    assert everything(files.home) == {"conf/Options.xml": b"at the last moment"}


def test_without_hard_links_the_look_has_to_do(
    files: HomeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume that has none, nor exchanges, takes replacements and removals all the same."""

    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(durable, "exchange", refused)
    made = exchange(files, "a.xml", b"theirs", write(files, "a.xml", b"old"))
    assert everything(files.home) == {"a.xml": b"theirs"}
    files.withdraw("a.xml", made, False)
    assert everything(files.home) == {}


@pytest.mark.parametrize("how", ["new", "over another"])
def test_an_edit_in_the_moment_of_arrival_is_seen(
    files: HomeFiles, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Harmony may write into a file as soon as it has its name: what arrived is then described
    otherwise than what lies there, so that the next look finds the edit."""
    target = files.home / "a.xml"

    def edited(*_: object) -> None:
        with target.open("r+b") as file:
            file.write(b"edited by Harmony")

    monkeypatch.setattr("harmony_agent.sync.home.custody.sync_directory", edited)
    monkeypatch.setattr(OpenFolders, "sync", edited)
    if how == "new":
        arrived = create(files, "a.xml", b"theirs")
    else:
        arrived = exchange(files, "a.xml", b"theirs", write(files, "a.xml", b"old"))
    status = target.stat()
    assert target.read_bytes() == b"edited by Harmony"
    assert arrived.sha256 == digest(b"theirs")
    assert (arrived.inode, arrived.size) == (status.st_ino, 6)


def test_files_that_arrive_together_each_have_their_own_fate(files: HomeFiles) -> None:
    """One name that is taken, and one that is a folder, hinder no other file."""
    write(files, "certs/taken", b"Harmony's")
    (files.home / "certs/folder").mkdir()
    names = ["certs/a", "certs/taken", "certs/folder", "data/new/b"]
    outcomes = files.create_all([(name, b"ours") for name in names])
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [LocalFile, PreconditionFailed, PreconditionFailed, LocalFile]
    found = {"certs/a": b"ours", "certs/taken": b"Harmony's", "data/new/b": b"ours"}
    assert everything(files.home) == found


def test_a_file_in_pieces_is_handed_out_whole_or_not_to_its_end(files: HomeFiles) -> None:
    """The last piece is the proof: it is given only if all of them are the version expected."""
    data = os.urandom(2 * CHUNK + 1)
    expected = write(files, "certs/large", data)
    source = files.outgoing("certs/large", expected)
    assert b"".join(iter(source.next, b"")) == data
    source.close()
    source = files.outgoing("certs/large", expected)
    assert source.next() == data[:CHUNK]
    with (files.home / "certs/large").open("r+b") as file:
        file.seek(2 * CHUNK)
        file.write(bytes([data[-1] ^ 1]))
    assert source.next() == data[CHUNK : 2 * CHUNK]
    with pytest.raises(PreconditionFailed):
        source.next()
    source.close()


def test_what_comes_too_late_replaces_nothing(files: HomeFiles) -> None:
    """Whoever asked for it has given up by then, and may have decided otherwise."""
    arrivals = [
        SmallArrival(name, b"theirs", write(files, name, b"old"), name == "b")
        for name in ("a", "b", "c")
    ]
    outcomes = files.exchange_all(arrivals, time.monotonic() - 1)
    assert [type(each) for each in outcomes] == [Unavailable] * 3
    assert everything(files.home) == {"a": b"old", "b": b"old", "c": b"old"}


def test_a_file_written_in_pieces_takes_its_place_only_over_what_was_expected(
    files: HomeFiles, tmp_path: Path
) -> None:
    """Large files obey the same rules: nothing unexpected is replaced, what is replaced is kept."""
    old = os.urandom(CHUNK + 1)
    expected = write(files, "certs/large", old)
    arrival = files.incoming("certs/large")
    arrival.write(b"new ")
    arrival.write(b"content")
    with pytest.raises(PreconditionFailed):
        files.place("certs/large", arrival, None, False, math.inf)
    made = files.place("certs/large", arrival, expected, True, math.inf)
    arrival.discard()
    status = (files.home / "certs/large").stat()
    assert made == LocalFile(digest(b"new content"), 11, status.st_mtime_ns, status.st_ino)
    assert everything(files.home) == {"certs/large": b"new content"}
    assert everything(tmp_path / "kept") == {"certs/large": old}


def test_what_is_replaced_or_removed_is_kept(files: HomeFiles, tmp_path: Path) -> None:
    """Each version once, also when a file is replaced more than once."""
    one = write(files, "conf/Options.xml", b"one")
    two = exchange(files, "conf/Options.xml", b"two", one, keep=True)
    exchange(files, "conf/Options.xml", b"three", two, keep=True)
    files.withdraw("certs/x", write(files, "certs/x", b"x"), keep=True)
    assert everything(files.home) == {"conf/Options.xml": b"three"}
    kept = everything(tmp_path / "kept")
    assert sorted(kept.values()) == [b"one", b"two", b"x"]
    assert kept["conf/Options.xml"] == b"one"


def test_a_full_state_volume_keeps_home_as_it_is(
    files: HomeFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be kept is not replaced, and no half copy stays."""
    expected = write(files, "conf/Options.xml", b"stock")
    fsync = os.fsync

    def full(handle: int) -> None:
        if "/kept/" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match=r"no space to write .*kept/conf/Options\.xml"):
        exchange(files, "conf/Options.xml", b"ours", expected, keep=True)
    assert everything(files.home) == {"conf/Options.xml": b"stock"}
    assert everything(tmp_path / "kept") == {}


def test_a_full_home_is_named_and_nothing_half_written_stays(
    files: HomeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the path and what to do."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Unavailable, match="make room"):
        create(files, "a", b"data")
    assert everything(files.home) == {}


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (errno.ENOENT, Absent),
        (errno.EEXIST, PreconditionFailed),
        (errno.EDQUOT, Unavailable),
        (errno.EACCES, Refused),
        (errno.EROFS, Refused),
        (errno.ENAMETOOLONG, Unsupported),
        (errno.ENOTDIR, Unsupported),
        (errno.EIO, Unavailable),
    ],
)
def test_errors_say_what_to_do(number: int, wanted: type[AgentError]) -> None:
    """One seam for the local file system; the cause is chained, the path is named."""
    with pytest.raises(wanted, match="/some/file") as caught, local_errors(Path("/some/file")):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is wanted
    assert isinstance(caught.value.__cause__, OSError)


def test_sweeping_spares_young_files_unless_told(
    files: HomeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that another process writes at this moment is not taken away, however long ago
    Harmony wrote what is in it."""
    for name in ("one", "another"):
        write(files, f"certs/.harmony-agent-tmp-{name}", b"")
        os.utime(files.home / f"certs/.harmony-agent-tmp-{name}", (1, 1))
    residue = ["certs/.harmony-agent-tmp-one", "certs/none"]
    assert files.sweep(residue, younger_too=False) == 0
    assert files.sweep(residue, younger_too=True) == 1
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3601)
    assert files.sweep(["certs/.harmony-agent-tmp-another"], younger_too=False) == 1
