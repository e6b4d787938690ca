"""The kernel tells when the log was written to; where it can't, the log is polled."""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures.harmony_log import HarmonyLog, element
from harmony_agent.logs.pipeline import feed, log_watch
from harmony_agent.logs.pipeline.log_watch import LogWatch
from tests.integration.logs.scripted import ScriptedLogSystem
from tests.integration.logs.test_pipeline_stream import Node, messages, until

LONG = 60.0  # seconds; no test waits that long


@pytest.fixture
def log(tmp_path: Path) -> HarmonyLog:
    """A log with its head."""
    log = HarmonyLog(tmp_path / "logs" / "Harmony.xml")
    log.start()
    return log


@pytest.fixture
def watch(log: HarmonyLog) -> Iterator[LogWatch]:
    """A watch on it that has begun."""
    watch = LogWatch(log.path)
    watch.begin()
    yield watch
    watch.close()


def write(log: HarmonyLog) -> None:
    """One event."""
    log.event(element("End"), thread=1)


async def notices(watch: LogWatch) -> bool:
    """Whether waiting for a write ends by itself."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await watch.written(LONG)
            return True
    return False


CHANGES: dict[str, Callable[[HarmonyLog, Path], None]] = {
    "append": lambda log, _: write(log),
    "half an event": lambda log, _: log.write(b"<Event><Det"),
    "rename": lambda log, archive: log.rotate(archive),
    "copy and truncate": lambda log, archive: log.rotate(archive, copy=True),
    "removal": lambda log, _: log.path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_every_change_of_the_log_is_noticed(
    log: HarmonyLog, watch: LogWatch, change: str
) -> None:
    """Before the wait and during it; `begin` forgets it."""
    CHANGES[change](log, log.path.parent / "archive")
    assert await notices(watch)
    watch.begin()
    watch.begin()  # the end of a watch on a file that is gone is a notice, too
    assert not await notices(watch)
    if log.path.exists():
        asyncio.get_running_loop().call_later(0.01, write, log)
        await asyncio.wait_for(watch.written(LONG), 20)


async def test_other_files_are_not_noticed(log: HarmonyLog, watch: LogWatch) -> None:
    """Harmony's debug log, and the log that was put away, may be written to all the time."""
    (log.path.parent / "Harmony.dbg").write_text("debug")
    assert not await notices(watch)
    archive = log.path.parent / "archive"
    log.rotate(archive)
    watch.begin()
    watch.begin()
    [old] = archive.iterdir()
    old.write_text("packed in place")
    assert not await notices(watch)


def test_a_thousand_writes_are_one_notice(log: HarmonyLog, watch: LogWatch) -> None:
    """What nobody waits for does not pile up: neither memory nor wake-ups for a busy log."""
    for _ in range(1000):
        write(log)
    assert watch._instance is not None
    [waiting] = struct.unpack("i", fcntl.ioctl(watch._instance, termios.FIONREAD, b"    "))
    assert waiting == 16  # bytes: one struct inotify_event without a name


def test_watches_and_files_are_given_back(log: HarmonyLog, watch: LogWatch) -> None:
    """A hundred rotations leave one watch, and closing leaves no open file."""
    for _ in range(100):
        log.rotate(log.path.parent / "archive")
        watch.begin()
    instance = watch._instance
    information = Path(f"/proc/self/fdinfo/{instance}").read_text()
    assert information.count("inotify wd:") == 1
    watch.close()
    watch.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(instance or -1)


async def test_a_missing_log_is_waited_for(tmp_path: Path) -> None:
    """No log, no directory: the wait takes as long as it may, and a log that comes is watched."""
    log = HarmonyLog(tmp_path / "logs" / "Harmony.xml")
    watch = LogWatch(log.path)
    watch.begin()
    begun = time.monotonic()
    await watch.written(0.02)
    assert time.monotonic() - begun >= 0.02
    assert not await notices(watch)
    log.start()
    watch.begin()
    write(log)
    assert await notices(watch)
    watch.close()


async def test_a_quiet_log_is_read_at_once_when_it_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With polls an hour apart events still arrive, a rotation included: by notices alone."""
    monkeypatch.setattr(feed, "_POLL", 3600.0)
    monkeypatch.setattr(feed, "_QUIET_POLL", 3600.0)
    node, system = Node(tmp_path), ScriptedLogSystem()
    node.log.start()
    async with node.running(system):
        for count in range(1, 6):
            node.write(1)
            await until(lambda count=count: len(system.received) == count)  # type: ignore[misc]  # a default is no Callable[[], bool] to mypy
        node.log.rotate(node.home / "logs" / "archive", copy=True)
        node.write(1)
        await until(lambda: len(system.received) == node.written)
    assert messages(system) == node.messages()


@pytest.mark.parametrize("notified", [True, False], ids=["notified", "polled"])
async def test_a_thousand_single_appends_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notified: bool
) -> None:
    """Two thousand events one by one, some in pieces, with rotations of both forms: none is lost,
    doubled or out of order, and threads keep their names, whether the kernel tells or not."""
    if not notified:
        monkeypatch.setattr(log_watch, "inotify_init", lambda: -1)
    node, system = Node(tmp_path), ScriptedLogSystem()
    node.log.threads = {thread: f"action {thread}" for thread in range(3)}
    node.log.start()
    writer = threading.Thread(target=append_fast, args=(node,))
    async with node.running(system):
        writer.start()
        await until(lambda: len(system.received) >= 2000)
        await until(lambda: not writer.is_alive())
    assert messages(system) == node.messages()
    for event in system.received:
        assert event.thread == f"action {int(event.message.split()[1]) % 3}"


def append_fast(node: Node) -> None:
    """Two thousand events at a thousand a second; a write takes as long as it takes."""
    begun = time.monotonic()
    for number in range(2000):
        time.sleep(max(0.0, begun + number / 1000 - time.monotonic()))  # the pace is the point
        cuts = [[], [40], [20, 90]][number % 3]
        node.log.event(element("Detail", f"event {number}"), thread=number % 3, cuts=cuts)
        node.written += 1
        if number % 400 == 399:
            node.log.rotate(node.home / "logs" / "archive", copy=number % 800 == 399)
