"""Whatever Harmony does while a file is replaced or removed, and wherever the agent is killed then,
nothing that Harmony wrote is lost."""

import errno
import itertools
import logging
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmony_agent.core import durable
from harmony_agent.core.durable import is_temporary
from harmony_agent.core.errors import AgentError
from harmony_agent.core.exchange import exchange
from harmony_agent.sync.decisions.states import LocalFile, digest
from harmony_agent.sync.home import custody
from harmony_agent.sync.home.custody import held_name, is_known, name_of_held
from harmony_agent.sync.home.files import HomeFiles, SmallArrival
from tests.unit.sync import homes

OLD, NEW = b"old", b"theirs"
NAME = "hosts/a.xml"
OTHERS = ("certs/b", "hosts/b.xml")
LATER = 99  # a moment that never comes

Change = Callable[[HomeFiles, LocalFile], object]


def exchange_many(files: HomeFiles, old: LocalFile) -> None:
    """Exchange the file together with others, that Harmony leaves alone."""
    arrivals = [SmallArrival(NAME, NEW, old, keep=False)]
    for other in OTHERS:
        (files.home / other).parent.mkdir(exist_ok=True)
        (files.home / other).write_bytes(OLD)
        present = files.present(other)
        assert present is not None
        arrivals.append(SmallArrival(other, NEW, present, keep=False))
    arrivals.sort()
    outcomes = files.exchange_all(arrivals, math.inf)
    assert sum(isinstance(each, LocalFile) for each in outcomes) >= len(OTHERS)


CHANGES: dict[str, Change] = {
    "exchange": lambda files, old: homes.exchange(files, NAME, NEW, old),
    "exchange of many": exchange_many,
    "withdraw": lambda files, old: files.withdraw(NAME, old, False),
}


class Killed(BaseException):
    """The process is gone: nothing it would still have done happens."""


@dataclass
class Harmony:
    """Writes, saves anew or deletes one file; remembers what nobody has ever seen replaced."""

    target: Path
    unseen: set[bytes] = field(default_factory=set)

    def edit(self, data: bytes) -> None:
        """Write in place."""
        self._replaces(data)
        self.target.write_bytes(data)

    def save(self, data: bytes) -> None:
        """Write beside and rename."""
        self._replaces(data)
        beside = self.target.parent.parent / "beside"
        beside.write_bytes(data)
        beside.replace(self.target)

    def delete(self, _: bytes) -> None:
        """Remove it."""
        self._replaces(None)
        self.target.unlink(missing_ok=True)

    def _replaces(self, data: bytes | None) -> None:
        if self.target.exists():
            self.unseen.discard(self.target.read_bytes())
        if data is not None:
            self.unseen.add(data)


Acts = dict[int, Callable[[], None]]


@dataclass
class Moments:
    """Runs what is planned just before the n-th system call that changes something; kills then."""

    acts: Acts
    killed_at: int = LATER
    passed: int = 0
    is_paused: bool = False

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, counted."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.is_paused:
                return call(*args, **kwargs)
            self.passed += 1
            self.is_paused = True
            self.acts.get(self.passed, lambda: None)()
            self.is_paused = False
            if self.passed >= self.killed_at:
                raise Killed
            return call(*args, **kwargs)

        return counted


@dataclass
class Bench:
    """A fresh home for each round."""

    folder: Path
    rounds: Iterator[int] = field(default_factory=itertools.count)
    lacks_exchange: bool = False

    def pairs(self, change: Change, act: str) -> Iterator[tuple[int, int]]:
        """Every moment at which Harmony can act while `change` is made, with every one after or
        before it at which the agent can be killed, and with none."""
        for acts_at in itertools.count(1):
            moments = self.run(change, {acts_at: (act, b"Harmony's")}, LATER)[0]
            if moments.passed < acts_at:
                return
            yield acts_at, LATER
            yield from ((acts_at, killed_at) for killed_at in range(1, moments.passed + 1))

    def run(
        self, change: Change, plan: dict[int, tuple[str, bytes]], killed_at: int
    ) -> tuple[Moments, Harmony, dict[str, bytes], set[bytes]]:
        """Make `change` while Harmony acts by `plan`; clean up as the next process does. What
        happened, Harmony, home and what is kept."""
        folder = self.folder / str(next(self.rounds))
        target = folder / "home" / NAME
        target.parent.mkdir(parents=True)
        target.write_bytes(OLD)
        status = target.stat()
        old = LocalFile(digest(OLD), status.st_size, status.st_mtime_ns, status.st_ino)
        harmony = Harmony(target)
        acts: Acts = {
            moment: partial(getattr(harmony, act), data) for moment, (act, data) in plan.items()
        }
        moments = Moments(acts, killed_at)
        with pytest.MonkeyPatch.context() as patch:
            trade = _refuse if self.lacks_exchange else exchange
            for module in (durable, custody):
                patch.setattr(module, "exchange", moments.wrap(trade))
            for name in ("rename", "link", "unlink"):
                patch.setattr(os, name, moments.wrap(getattr(os, name)))
            patch.setattr(os, "fsync", moments.wrap(lambda _: None))
            try:
                change(HomeFiles(folder / "home", folder / "kept"), old)
            except (AgentError, Killed):
                pass
        residue = [p for p in (folder / "home").rglob("*") if is_temporary(p.name)]
        HomeFiles(folder / "home", folder / "kept").sweep(
            [str(p.relative_to(folder / "home")) for p in residue], younger_too=True
        )
        home = _content(folder / "home")
        for other in OTHERS:
            assert home.pop(other, OLD) in (OLD, NEW)
        return moments, harmony, home, set(_content(folder / "kept").values())


def _refuse(*_: object) -> None:
    raise OSError(errno.EINVAL, "Invalid argument")


def _content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("act", ["edit", "save", "delete"])
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_harmony_does_at_any_moment_survives_a_kill_at_any_moment(
    tmp_path: Path, change: str, act: str
) -> None:
    """Every pair of moments: what Harmony wrote is in home or kept, and nothing else is kept."""
    bench = Bench(tmp_path)
    for acts_at, killed_at in bench.pairs(CHANGES[change], act):
        _, harmony, home, kept = bench.run(
            CHANGES[change], {acts_at: (act, b"Harmony's")}, killed_at
        )
        where = f"{act} at {acts_at}, killed at {killed_at}: {home}, kept {kept}"
        assert harmony.unseen <= {*home.values(), *kept}, where
        assert kept <= harmony.unseen, where
        assert home.keys() <= {NAME}, where


@given(
    change=st.sampled_from(list(CHANGES)),
    acts=st.lists(st.sampled_from(["edit", "save", "delete"]), min_size=2, max_size=3),
    moments=st.lists(st.integers(1, 20), min_size=3, max_size=3, unique=True).map(sorted),
    killed_at=st.integers(1, 26),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_several_acts_of_harmony_survive_as_well(
    tmp_path_factory: pytest.TempPathFactory,
    change: str,
    acts: list[str],
    moments: list[int],
    killed_at: int,
) -> None:
    """What is put back never takes the place of what Harmony wrote since."""
    bench = Bench(tmp_path_factory.mktemp("acts"))
    plan = {
        moment: (act, b"Harmony's %d" % moment) for moment, act in zip(moments, acts, strict=False)
    }
    _, harmony, home, kept = bench.run(CHANGES[change], plan, killed_at)
    assert harmony.unseen <= {*home.values(), *kept}


@pytest.mark.parametrize("act", ["edit", "save"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_harmony_writes_meanwhile_stands_in_home_afterwards(
    tmp_path: Path, change: str, act: str
) -> None:
    """Without a kill nobody has to look for it anywhere else."""
    bench = Bench(tmp_path)
    for acts_at in range(1, 22):
        plan = {acts_at: (act, b"Harmony's")}
        moments, harmony, home, kept = bench.run(CHANGES[change], plan, LATER)
        assert home.get(NAME) == b"Harmony's" or not harmony.unseen, f"at {acts_at}: {home}"
        assert kept == set()
    assert moments.passed < acts_at, "every moment was tried"


@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_alone_keeps_nothing_and_leaves_the_old_or_the_new(
    tmp_path: Path, change: str
) -> None:
    """Contents that are known are no news: the next process removes what was left of them."""
    bench = Bench(tmp_path)
    for killed_at in range(1, 22):
        moments, _, home, kept = bench.run(CHANGES[change], {}, killed_at)
        assert kept == set()
        assert home in ({NAME: OLD}, {} if change == "withdraw" else {NAME: NEW})
    assert moments.passed < killed_at, "every moment was tried"


@pytest.mark.parametrize("change", CHANGES)
def test_without_exchange_an_edit_in_place_survives_as_well(tmp_path: Path, change: str) -> None:
    """On NFS and SMB a hard link holds what Harmony writes into the file."""
    bench = Bench(tmp_path, lacks_exchange=True)
    for acts_at, killed_at in bench.pairs(CHANGES[change], "edit"):
        _, harmony, home, kept = bench.run(
            CHANGES[change], {acts_at: ("edit", b"Harmony's")}, killed_at
        )
        where = f"at {acts_at}, killed at {killed_at}: {home}, kept {kept}"
        assert harmony.unseen <= {*home.values(), *kept}, where
        assert kept <= harmony.unseen, where


def test_what_is_kept_is_told_by_its_name_and_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A person finds what an agent that was killed had taken out of home."""
    home, kept = tmp_path / "home", tmp_path / "kept"
    residue = f"hosts/{held_name('a.xml', digest(OLD), digest(NEW))}"
    (home / "hosts").mkdir(parents=True)
    (home / residue).write_bytes(b"edited")
    with caplog.at_level(logging.WARNING):
        assert HomeFiles(home, kept).sweep([residue], younger_too=True) == 1
    assert _content(kept) == {NAME: b"edited"}
    assert _content(home) == {}
    (told,) = caplog.records
    assert told.__dict__["file"] == NAME
    assert told.__dict__["kept"] == str(kept / NAME)


def test_what_can_not_be_kept_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full state volume costs nothing: the next sweep tries again."""
    home = tmp_path / "home"
    residue = held_name("a.xml", digest(OLD), digest(NEW))
    home.mkdir()
    (home / residue).write_bytes(b"edited")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert HomeFiles(home, tmp_path / "kept").sweep([residue], younger_too=True) == 0
    assert _content(home) == {residue: b"edited"}


def test_a_residue_in_the_way_of_the_same_change_is_kept_first(tmp_path: Path) -> None:
    """A file that could not be kept when it was found is not overwritten by a second attempt."""
    files = HomeFiles(tmp_path / "home", tmp_path / "kept")
    files.home.mkdir()
    target = files.home / "a.xml"
    target.write_bytes(OLD)
    (files.home / held_name("a.xml", digest(OLD), digest(NEW))).write_bytes(b"edited")
    present = files.present("a.xml")
    assert present is not None
    homes.exchange(files, "a.xml", NEW, present)
    assert _content(files.home) == {"a.xml": NEW}
    assert _content(tmp_path / "kept") == {"a.xml": b"edited"}


@given(
    name=st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1),
    old=st.binary(),
    new=st.binary(),
    other=st.binary(),
)
def test_a_held_name_tells_the_file_and_which_contents_are_known(
    name: str, old: bytes, new: bytes, other: bytes
) -> None:
    """Both come back from the name, which is one of our temporary files' and short enough."""
    held = held_name(name, digest(old), digest(new))
    assert is_temporary(held)
    assert name_of_held(held) == name
    assert is_known(held, digest(old))
    assert is_known(held, digest(new))
    assert is_known(held, digest(other)) == (other in (old, new))
    assert len(held) - len(name) <= 255 - 215


def test_other_temporary_files_are_not_taken_for_held_ones() -> None:
    """Drafts that were never finished are removed, whatever is in them."""
    assert name_of_held(durable.temporary_name()) is None
    assert name_of_held(f"{durable.temporary_name()}-1234") is None
    assert not is_known(durable.temporary_name(), digest(OLD))
