"""Hints from the kernel, and what happens where there are none."""

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyFD

from harmony_agent.lifecycle.health import Health
from harmony_agent.sync.home.watch import Hints, Watcher
from tests.integration.sync.disk import Disk, eventually, running, runtime


@contextlib.asynccontextmanager
async def watching(home: Path, *folders: str) -> AsyncIterator[Watcher]:
    """A watcher that entered `folders`."""
    watcher = Watcher(home, "test", lambda path: "of no interest" not in path)
    try:
        for folder in folders:
            watcher.enter(folder)
        yield watcher
    finally:
        watcher.close()


async def hinted(watcher: Watcher, path: str) -> None:
    """Wait until there is a hint about `path`."""
    async with asyncio.timeout(10):
        while path not in (await watcher.wait(10)).paths:
            pass


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a folder of certificates."""
    (tmp_path / "certs").mkdir()
    return tmp_path


async def test_without_changes_there_are_no_hints(home: Path) -> None:
    """Waiting ends at its limit; reading is no change, and what does not concern us is no hint."""
    (home / "certs/a").write_text("x")
    async with watching(home, "", "certs") as watcher:
        (home / "certs/a").read_text()
        (home / "of no interest").write_text("x")
        assert not await watcher.wait(0.2)


async def test_each_way_of_changing_a_file_gives_a_hint(home: Path) -> None:
    """Write, rename, hard link, delete; our own temporary files give none."""
    async with watching(home, "", "certs") as watcher:
        (home / "certs/.harmony-agent-tmp-1").write_text("x")
        (home / "certs/written").write_text("x")
        await hinted(watcher, "certs/written")
        (home / "certs/.harmony-agent-tmp-1").rename(home / "certs/renamed")
        await hinted(watcher, "certs/renamed")
        os.link(home / "certs/renamed", home / "certs/linked")
        await hinted(watcher, "certs/linked")
        (home / "certs/linked").unlink()
        await hinted(watcher, "certs/linked")
        (home / "top").write_text("x")
        await hinted(watcher, "top")


async def test_a_folder_that_was_deleted_and_made_again_is_watched_again(home: Path) -> None:
    """Once it is entered again; entering twice is no harm."""
    async with watching(home, "", "certs", "certs") as watcher:
        (home / "certs").rmdir()
        (home / "certs").mkdir()
        await hinted(watcher, "certs")
        watcher.enter("certs")
        (home / "certs/new").write_text("x")
        await hinted(watcher, "certs/new")


async def test_a_folder_that_was_moved_is_known_by_its_new_name(home: Path) -> None:
    """Its watch does not go on reporting the old path."""
    async with watching(home, "", "certs") as watcher:
        (home / "certs").rename(home / "data")
        await hinted(watcher, "data")
        watcher.enter("data")
        (home / "data/new").write_text("x")
        await hinted(watcher, "data/new")


async def test_lost_events_mean_look_at_everything(home: Path) -> None:
    """An overflow of the kernel's queue, and more hints than are worth listing."""
    async with watching(home, "", "certs") as watcher:
        watcher.on_queue_overflow()
        assert (await watcher.wait(5)).everything
        for number in range(1500):
            (home / f"certs/{number}").touch()
        hints = Hints()
        async with asyncio.timeout(10):
            while not hints.everything:
                hints = await watcher.wait(10)
        assert not hints.paths


async def test_a_refused_watch_is_explained_and_polling_takes_over(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the node's limit changes still travel within seconds, and the status says why slowly."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr(InotifyFD, "add_callback", refuse)
    health = Health()
    async with runtime(disk, health) as mirror, running(mirror):
        await eventually(lambda: "limit reached" in health.sections["runtime"]()["trouble"])
        disk.write("AS2/data/1.id", b"1@acme")
        await eventually(lambda: "AS2/data/1.id" in disk.stored(), limit=10)
        assert "max_user_watches" in health.sections["runtime"]()["trouble"]


async def test_no_inotify_at_all_is_explained(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of instances is reached: hints are off, waiting still works."""

    def refuse(_: object) -> int:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr(InotifyFD, "_create_inotify_fd", classmethod(refuse))
    async with watching(home, "", "certs") as watcher:
        assert watcher.trouble is not None and "polling" in watcher.trouble
        assert not await watcher.wait(0.01)


async def test_the_node_s_limits_are_told_at_the_start(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All pods of a node share them, so who runs short wants to know them."""
    caplog.set_level("INFO")
    async with watching(home, ""):
        (record,) = [r for r in caplog.records if "inotify" in r.message]
        limits = ("max_user_watches", "max_user_instances", "max_queued_events")
        assert all(vars(record)[name] > 0 for name in limits)


async def test_closing_ends_the_thread(home: Path) -> None:
    """Nothing is left running, and closing twice is no harm."""
    before = threading.active_count()
    async with watching(home, "", "certs") as watcher:
        assert threading.active_count() == before + 1
        watcher.close()
        assert threading.active_count() == before
