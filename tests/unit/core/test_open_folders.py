"""Folders are opened once, never through a link, and a file is read whole or not at all."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harmony_agent.core.open_folders import OpenFolders, read_small

Maker = Callable[[str], None]


@pytest.fixture
def made() -> list[str]:
    """The folders that had to be made."""
    return []


@pytest.fixture
def folders(tmp_path: Path, made: list[str]) -> Iterator[OpenFolders]:
    """Below the test's own folder."""

    def make(folder: str) -> None:
        made.append(folder)
        (tmp_path / folder).mkdir(parents=True)

    folders = OpenFolders(tmp_path, make)
    yield folders
    folders.close()


def handles() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_folder_is_made_and_opened_once(folders: OpenFolders, made: list[str]) -> None:
    """However often it is asked for; the folders on the way cost no handle."""
    before = handles()
    assert folders.handle("a/b/c") == folders.handle("a/b/c")
    assert folders.handle("a/b/c") != folders.handle("a")
    assert made == ["a/b/c"]
    assert handles() == before + 2
    folders.close()
    assert handles() == before


def test_no_link_is_followed(folders: OpenFolders, tmp_path: Path) -> None:
    """Neither as the folder itself nor on the way to it: nothing may end up elsewhere."""
    (tmp_path / "real/below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    before = handles()
    for path in ("link", "link/below"):
        with pytest.raises(NotADirectoryError):
            folders.handle(path)
    assert handles() == before


def test_without_a_maker_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """Reading makes nothing."""
    folders = OpenFolders(tmp_path)
    with pytest.raises(FileNotFoundError):
        folders.handle("missing")
    assert list(tmp_path.iterdir()) == []


def test_a_small_file_is_read_with_its_stat(folders: OpenFolders, tmp_path: Path) -> None:
    """Also an empty one."""
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "empty").touch()
    for name, data in (("a", b"content"), ("empty", b"")):
        assert read_small(folders.handle(""), name) == (data, (tmp_path / name).stat())


def test_a_link_is_not_read(folders: OpenFolders, tmp_path: Path) -> None:
    """It could lead anywhere."""
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        read_small(folders.handle(""), "link")


@pytest.mark.parametrize("change", [b"longer than before", b"other"], ids=["size", "content"])
def test_a_file_that_is_written_to_meanwhile_is_not_taken(
    folders: OpenFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: bytes
) -> None:
    """What was read may be neither the old version nor the new one."""
    (tmp_path / "a").write_bytes(b"first")
    os.utime(tmp_path / "a", (1, 1))
    read = os.read

    def interrupted(handle: int, size: int) -> bytes:
        data = read(handle, size)
        (tmp_path / "a").write_bytes(change)
        return data

    monkeypatch.setattr(os, "read", interrupted)
    assert read_small(folders.handle(""), "a") is None
