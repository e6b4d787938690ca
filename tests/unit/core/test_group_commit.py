"""Many files at once: each whole and on the disk before it has its name, each with its own fate."""

import errno
import os
from pathlib import Path

import pytest

from harmony_agent.core.durable import Draft
from harmony_agent.core.group_commit import create_together
from harmony_agent.core.volume_sync import VolumeSync

Item = tuple[Path, bytes]


def begin(item: Item) -> Draft:
    """A draft with the item's content."""
    path, data = item
    draft = Draft(path, mode=0o600)
    draft.write(data)
    return draft


def written(draft: Draft) -> os.stat_result:
    """What lies there."""
    return draft.written


def everything(folder: Path) -> dict[str, bytes]:
    """All files below `folder`."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_file_is_made_and_described_as_it_lies_there(tmp_path: Path) -> None:
    """The outcomes are in order, and nothing is left beside."""
    (tmp_path / "deep").mkdir()
    items = [(tmp_path / "a", b"1"), (tmp_path / "deep/b", b"22"), (tmp_path / "c", b"")]
    outcomes = create_together(items, begin, Draft.put_new, written, VolumeSync())
    for (path, data), outcome in zip(items, outcomes, strict=True):
        assert isinstance(outcome, os.stat_result)
        found = path.stat()
        assert (outcome.st_ino, outcome.st_mtime_ns) == (found.st_ino, found.st_mtime_ns)
        assert outcome.st_size == len(data)
    assert everything(tmp_path) == {"a": b"1", "deep/b": b"22", "c": b""}


def test_one_that_fails_fails_alone(tmp_path: Path) -> None:
    """A name that is taken, and a folder that is missing, are told where they belong."""
    (tmp_path / "taken").write_bytes(b"theirs")
    items = [(tmp_path / name, b"ours") for name in ("a", "taken", "missing/b", "c")]
    outcomes = create_together(items, begin, Draft.put_new, written, VolumeSync())
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [os.stat_result, FileExistsError, FileNotFoundError, os.stat_result]
    assert everything(tmp_path) == {"a": b"ours", "taken": b"theirs", "c": b"ours"}


def test_no_file_has_its_name_before_all_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content first, names second, directories last; one sync for each file and directory."""
    steps: list[str] = []
    fsync = os.fsync

    def synced(handle: int) -> None:
        steps.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    def place(draft: Draft) -> None:
        steps.append(f"placed {draft.target.name}")
        draft.put_new()

    monkeypatch.setattr(os, "fsync", synced)
    create_together(
        [(tmp_path / "a", b"1"), (tmp_path / "b", b"2")], begin, place, written, VolumeSync()
    )
    assert [Path(step).name.partition("tmp-")[0] for step in steps] == [
        ".harmony-agent-",
        ".harmony-agent-",
        "placed a",
        "placed b",
        tmp_path.name,
    ]


def test_a_disk_that_fails_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be synced never gets its name."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    outcomes = create_together(
        [(tmp_path / "a", b"1")], begin, Draft.put_new, written, VolumeSync()
    )
    assert isinstance(outcomes[0], OSError)
    assert everything(tmp_path) == {}


def test_a_name_that_may_be_lost_again_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the directory's sync nobody may rely on the file."""

    def broken(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("harmony_agent.core.group_commit.sync_directory", broken)
    outcomes = create_together(
        [(tmp_path / "a", b"1")], begin, Draft.put_new, written, VolumeSync()
    )
    assert isinstance(outcomes[0], OSError)
