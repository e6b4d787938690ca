"""Harmony and the agent replace the same file at the same time, thousands of times."""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harmony_agent.core.errors import AgentError
from harmony_agent.sync.home.files import HomeFiles
from tests.integration.sync.world import take_place
from tests.unit.sync.homes import exchange

ATTEMPTS = 3000
PAUSE = 0.002  # seconds at most between two saves of Harmony: some replacements must succeed


def harmony(target: Path, over: threading.Event) -> tuple[set[bytes], set[bytes]]:
    """Save the file again and again; what was written, and what was seen replaced by that."""
    dice = random.Random(20261121)
    beside = target.parent.parent / "beside"
    written: set[bytes] = set()
    seen: set[bytes] = set()
    while not over.is_set():
        data = b"Harmony's %d" % len(written)
        beside.write_bytes(data)
        written.add(data)
        seen.add(take_place(beside, target) or b"")
        time.sleep(dice.uniform(0, PAUSE))
    return written, seen


def agent(files: HomeFiles, name: str) -> set[bytes]:
    """Replace whatever stands there again and again; what it had read before it did."""
    read = set()
    for number in range(ATTEMPTS):
        try:
            present = files.present(name)
            assert present is not None
            (content,) = files.read_all([(name, present)])
            exchange(files, name, b"the repository's %d" % number, present)
        except AgentError:
            continue  # Harmony was faster
        assert isinstance(content, bytes)
        read.add(content)
    return read


def test_nobody_replaces_what_he_has_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every version of Harmony's was read by the agent that replaced it, or replaced by Harmony, or
    stands there, or is kept."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the race is not the disk's
    files = HomeFiles(tmp_path / "home", tmp_path / "kept")
    files.home.mkdir()
    (files.home / "a.xml").write_bytes(b"the first")
    over = threading.Event()
    with ThreadPoolExecutor() as threads:
        saving = threads.submit(harmony, files.home / "a.xml", over)
        try:
            read = agent(files, "a.xml")
        finally:
            over.set()
        written, seen = saving.result()
    left = {path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert written - seen - read - left == set()
    assert read & written, "both got their turns"
