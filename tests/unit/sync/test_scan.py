"""Looking at home: what differs, what hides, what has not come to rest."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harmony_agent.core.errors import AgentError
from harmony_agent.repositories.interface import Token
from harmony_agent.sync.decisions import paths
from harmony_agent.sync.decisions.states import BaseRow, LocalFile, LocalState, Obstacle, digest
from harmony_agent.sync.home.scan import CAREFUL, FINAL, UNUSED_HOME, Care, Look, Scanner
from harmony_agent.sync.home.settling import Settling


class Home:
    """A home with a scanner, a clock to turn, and the base as of the last `agree`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.age = 0.0  # seconds the wall clock is ahead of the files' change times
        self.rows: dict[str, BaseRow] = {}
        self.entered: list[str] = []
        self._scanner = Scanner(
            folder,
            paths.configuration(["extra"]),
            settling=Settling(1.0, clock=lambda: self.now, wall=self._wall),
            holds_xml=True,
            enter=self.entered.append,
        )

    def _wall(self) -> float:
        newest = max((p.lstat().st_ctime for p in self.folder.rglob("*")), default=0.0)
        return newest + self.age

    def write(self, path: str, text: str = "x") -> Path:
        """Write a file."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def look(
        self, *starts: str, care: Care = UNUSED_HOME, known: Mapping[str, LocalState] | None = None
    ) -> Look:
        """Look at everything, or at `starts`."""
        rows = {
            path: row
            for path, row in self.rows.items()
            if not starts or any(path == s or path.startswith(f"{s}/") for s in starts)
        }
        return self._scanner.look(starts or [""], rows, (known or {}).get, care)

    def agree(self) -> None:
        """Take what lies in home into the base."""
        for path, state in self.look().differing.items():
            if isinstance(state, LocalFile):
                self.rows[path] = BaseRow(
                    state.sha256, state.size, state.mtime_ns, state.inode, Token("t")
                )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(tmp_path)


def test_only_what_differs_is_reported(home: Home) -> None:
    """New, changed and deleted files; the others cost a stat and nothing else."""
    for name in ("kept", "changed", "deleted"):
        home.write(f"certs/{name}", name)
    home.agree()
    home.write("certs/changed", "changed again")
    home.write("certs/new", "new")
    (home.folder / "certs/deleted").unlink()
    found = home.look()
    assert found.differing.keys() == {"certs/changed", "certs/new", "certs/deleted"}
    assert found.differing["certs/deleted"] is None
    new = found.differing["certs/new"]
    assert isinstance(new, LocalFile) and new.sha256 == digest(b"new")
    assert found.files == 3


def test_a_touched_file_gets_a_new_row_and_is_no_change(home: Home) -> None:
    """The same content under a new time is remembered, not pushed."""
    target = home.write("certs/a", "same")
    home.agree()
    os.utime(target, ns=(5, 5))
    found = home.look()
    assert found.differing == {}
    assert found.touched["certs/a"].mtime_ns == 5


def test_a_hash_is_not_made_twice(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A differing file that was looked at before is not read again while its stat is the same."""
    home.write("certs/a")
    known = home.look().differing
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was read"))
    assert home.look(known=known).differing == known


def test_a_hint_looks_at_one_file_or_one_folder_only(home: Home) -> None:
    """A deleted folder's files are gone, neighbors are not looked at, foreign paths are ignored."""
    for path in ("certs/a/1", "certs/a/2", "certs/b"):
        home.write(path)
    home.agree()
    (home.folder / "certs/b").unlink()
    for path in ("certs/a/1", "certs/a/2"):
        (home.folder / path).unlink()
    (home.folder / "certs/a").rmdir()
    assert home.look("certs/a").differing == {"certs/a/1": None, "certs/a/2": None}
    home.write("autorun/x")
    home.write("certs/c/new")
    assert home.look("autorun/x", "logs", "conf/Sync.xml").differing == {}
    assert home.look("certs/c").differing.keys() == {"certs/c/new"}


def test_a_home_that_can_not_be_read_is_an_error(home: Home) -> None:
    """A missing home must not look like an empty one."""
    home.write("certs/a")
    home.agree()
    home.folder.rename(home.folder.with_name("away"))
    with pytest.raises(AgentError):
        home.look()


def test_what_lies_behind_an_obstacle_is_not_deleted(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that can't be read, or became a link, hides its files: they are not gone."""
    home.write("certs/a/1")
    home.write("data/b")
    home.agree()
    (home.folder / "data/b").unlink()
    (home.folder / "data").rmdir()
    (home.folder / "data").symlink_to(home.folder / "certs")
    scandir = os.scandir

    def denied(path: Path) -> object:
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("harmony_agent.sync.home.scan.os.scandir", denied)
    found = home.look().differing
    assert found.keys() == {"certs/a", "data"}
    assert all(isinstance(state, Obstacle) and not state.passing for state in found.values())


def test_bad_names_and_special_files_are_obstacles(home: Home) -> None:
    """Each with a reason a person understands."""
    home.write("certs/a\nb")
    os.mkfifo(home.folder / "certs/fifo")
    (home.folder / "certs" / os.fsdecode(b"\xff")).write_text("x")
    reasons = {
        path: state.reason
        for path, state in home.look().differing.items()
        if isinstance(state, Obstacle)
    }
    assert "control characters" in reasons["certs/a\nb"]
    assert "no regular file" in reasons["certs/fifo"]
    assert "not UTF-8" in reasons["certs/\udcff"]


def test_a_file_is_read_only_after_it_rested(home: Home) -> None:
    """Two looks a second apart must find it the same; each write starts the second anew."""
    home.write("certs/a", "1")
    assert home.look(care=CAREFUL).differing["certs/a"] == Obstacle("is still being written", True)
    home.now = 0.9
    home.write("certs/a", "22")
    assert isinstance(home.look(care=CAREFUL).differing["certs/a"], Obstacle)
    home.now = 1.8
    assert isinstance(home.look(care=CAREFUL).differing["certs/a"], Obstacle)
    home.now = 1.91
    assert isinstance(home.look(care=CAREFUL).differing["certs/a"], LocalFile)


def test_old_files_and_the_last_look_need_no_rest(home: Home) -> None:
    """A minute without a change is rest enough, and at the end nothing is written any more."""
    home.write("certs/a")
    assert isinstance(home.look(care=FINAL).differing["certs/a"], LocalFile)
    home.age = 61
    assert isinstance(home.look(care=CAREFUL).differing["certs/a"], LocalFile)


@pytest.mark.parametrize("text", ["", "<a>", "<a></b>", "<a/>trailing", "no xml"])
def test_xml_counts_once_it_is_whole(home: Home, text: str) -> None:
    """Unless Harmony never ran: then it is the image's, as it is."""
    home.write("conf/Options.xml", text)
    state = home.look(care=FINAL).differing["conf/Options.xml"]
    assert isinstance(state, Obstacle) and "not whole XML" in state.reason
    assert isinstance(home.look(care=UNUSED_HOME).differing["conf/Options.xml"], LocalFile)
    home.write("conf/Options.xml", "<a>whole</a>")
    assert isinstance(home.look(care=FINAL).differing["conf/Options.xml"], LocalFile)


def test_a_file_that_changes_while_it_is_read_is_still_being_written(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stat that moved during the reading voids it."""
    home.write("certs/a", "before")
    fstat = os.fstat

    def later(handle: int) -> os.stat_result:
        home.write("certs/a", "after, and longer")
        return fstat(handle)

    monkeypatch.setattr("harmony_agent.sync.home.scan.os.fstat", later)
    state = home.look(care=FINAL).differing["certs/a"]
    assert isinstance(state, Obstacle) and state.passing


def test_folders_are_entered_before_they_are_listed(home: Home) -> None:
    """A watch set then misses nothing; folders of no interest are not entered."""
    home.write("certs/deep/er/a")
    home.write("hosts/preconfigured/x.xml")
    home.write("webserver/index.html")
    home.write("extra/x")
    home.look()
    assert home.entered[0] == ""
    assert set(home.entered) == {"", "certs", "certs/deep", "certs/deep/er", "hosts", "extra"}


def test_temporary_files_are_residue_and_nothing_else(home: Home) -> None:
    """They are reported for sweeping, wherever the scan comes by."""
    home.write("certs/.harmony-agent-tmp-1")
    home.write("webserver/.harmony-agent-tmp-2")
    found = home.look()
    assert found.differing == {}
    assert found.residue == ["certs/.harmony-agent-tmp-1"]


def test_names_with_a_backslash_or_brackets_are_ordinary(home: Home) -> None:
    """They are found under their own names."""
    look: Callable[[], Look] = home.look
    home.write("certs/cfg[1] & ümlaut\\x")
    assert look().differing.keys() == {"certs/cfg[1] & ümlaut\\x"}
