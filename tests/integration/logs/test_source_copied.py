"""The log is put away in the middle of a look at it: nothing is missed, and no loss is told."""

import os
from pathlib import Path

import pytest

from harmony_agent.logs.sources import tail
from harmony_agent.logs.sources.generations import Generation, archived
from harmony_agent.logs.sources.position import Context
from harmony_agent.logs.sources.reader import EventReader, Parsed
from harmony_agent.logs.systems.interface import Limits
from tests.integration.logs.test_source_rotation import Node


def test_a_copy_made_while_the_log_is_being_read_is_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content was read, then Harmony wrote once more and the log was rotated: the copy is older
    than the log that was cut, and holds an event that was not read."""
    node = Node(tmp_path)
    node.log.start()
    read = EventReader.read
    looks = 0

    def rotated_meanwhile(
        reader: EventReader, data: bytes, context: Context, limits: Limits, *, final: bool = False
    ) -> Parsed:
        nonlocal looks
        looks += 1
        if looks == 1:
            node.write("c")
            node.log.rotate(node.archive, copy=True)
            (copy,) = node.archive.iterdir()
            cut = copy.stat().st_mtime_ns + 10**9  # what a busy machine makes of two moments
            os.utime(node.log.path, ns=(cut, cut))
        return read(reader, data, context, limits, final=final)

    node.write("a")
    assert node.read() == ["a"]
    node.write("b")
    monkeypatch.setattr(EventReader, "read", rotated_meanwhile)
    found = node.read()
    node.write("d")
    assert [*found, *node.read()] == ["b", "c", "d"]
    node.tail.close()


def test_a_log_that_is_renamed_while_it_is_looked_for_is_not_told_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A new process lists the archive, and only then the log is renamed: neither the list nor the
    name has it, but the next look does."""
    node = Node(tmp_path)
    node.log.start()
    node.write("a")
    assert node.read() == ["a"]
    node.restart()
    node.write("b")
    looks = 0

    def listed(live: Path, archive: Path, since: int) -> list[Generation]:
        nonlocal looks
        looks += 1
        found = archived(live, archive, since)
        if looks == 1:
            node.log.rotate(node.archive)
            node.write("c")
        return found

    monkeypatch.setattr(tail, "archived", listed)
    found = node.read()
    assert [*found, *node.read()] == ["b", "c"]
    assert looks > 1
    assert "is lost" not in caplog.text
    node.tail.close()
