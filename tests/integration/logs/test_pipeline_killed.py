"""The process is killed at random moments: no event is lost, repeats bear the same id."""

import random
import subprocess
import sys
import time
from pathlib import Path

import orjson

from fixtures.harmony_log import HarmonyLog, element

ROUNDS = 15


def write_some(log: HarmonyLog, archive: Path | None, written: list[str]) -> None:
    """A few hundred events, now and then a rotation into `archive`, if there is one."""
    for _ in range(random.randint(50, 400)):
        text = f"event {len(written)}"
        log.event(element("Detail", text, level="1"), thread=1)
        written.append(text)
    if archive is not None and random.random() < 0.4:
        log.rotate(archive, copy=random.random() < 0.5, packing=random.choice(["plain", "gzip"]))


def received_lines(path: Path) -> list[tuple[str, str]]:
    """Id and message of what arrived; a line that was cut by the kill does not count."""
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    return [tuple(orjson.loads(line)) for line in lines[:-1]]


def await_events(path: Path, count: int) -> None:
    """Until so many different events arrived."""
    deadline = time.monotonic() + 60
    while len({i for i, _ in received_lines(path)}) < count:
        assert time.monotonic() < deadline, "events are missing"
        time.sleep(0.05)


def test_nothing_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    """Fifteen kills while Harmony writes and rotates and the log system fails at random."""
    home, state, received = tmp_path / "home", tmp_path / "state", tmp_path / "received"
    state.mkdir()
    log = HarmonyLog(home / "logs" / "Harmony.xml")
    log.start()
    written: list[str] = []
    command = [sys.executable, "-m", "tests.integration.logs.streaming_process"]
    for turn in range(ROUNDS + 1):
        process = subprocess.Popen([*command, str(home), str(state), str(received)])
        try:
            # What was put away before the very first start would not be read.
            write_some(log, home / "logs" / "archive" if turn else None, written)
            if turn == 0:
                await_events(received, 1)
            elif turn < ROUNDS:
                time.sleep(random.uniform(0.2, 0.9))  # a random moment is the point
            else:
                await_events(received, len(written))
        finally:
            process.kill()
            process.wait()
    ids: dict[str, str] = {}
    for identity, message in received_lines(received):
        assert ids.setdefault(message, identity) == identity, "a repeat under another id"
    assert list(ids) == written  # all of them, first seen in order
