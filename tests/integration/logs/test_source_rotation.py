"""What happens to the log's file, case by case (test_source_histories tries them in any order)."""

import gzip
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fixtures.harmony_log import CLOSING, HarmonyLog, Packing, element
from harmony_agent.logs.sources import generations, tail, taking
from harmony_agent.logs.sources.generations import Generation, Source
from harmony_agent.logs.sources.position import Position
from harmony_agent.logs.sources.reader import EventReader
from harmony_agent.logs.sources.severity import UNREADABLE
from harmony_agent.logs.sources.tail import Tail
from harmony_agent.logs.systems.interface import Limits

LIMITS = Limits(entries=1000, size=1024 * 1024)


class Node:
    """A log with its archive, and a reader of both."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.archive = home / "archive"
        self.log = HarmonyLog(home / "Harmony.xml")
        self.tail = self.new_tail()
        self.position = Position(time.time_ns() - 10**9)
        self.damage: list[str] = []
        self.behind = 0

    def new_tail(self) -> Tail:
        """A reader without memory."""
        reader = EventReader(system="S", node="n", serial=lambda: None, zone=ZoneInfo("UTC"))
        return Tail(self.log.path, self.archive, reader, self.home)

    def write(self, *texts: str) -> None:
        """One event for each text."""
        for text in texts:
            self.log.event(element("Detail", text), thread=1)

    def read(self) -> list[str]:
        """All messages there are by now."""
        found = []
        while True:
            reading = self.tail.read(self.position, LIMITS)
            found += [event.message for event in reading.events]
            self.damage += [damage.kind for damage in reading.damage]
            self.behind = reading.behind
            if reading.after == self.position:
                return found
            self.position = reading.after

    def restart(self) -> None:
        """The agent starts anew."""
        self.tail.close()
        self.tail = self.new_tail()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node whose Harmony has started."""
    node = Node(tmp_path)
    node.log.start()
    yield node
    node.tail.close()


def test_no_directory_and_no_log_are_waited_for(tmp_path: Path) -> None:
    """Nothing there is nothing to read, not an error."""
    node = Node(tmp_path / "not" / "yet")
    assert node.read() == []
    node.log.start()
    assert node.read() == []
    node.write("a")
    assert node.read() == ["a"]
    node.tail.close()


def test_a_renamed_file_is_read_to_its_end_though_it_is_removed(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """The open file holds what the archive does not; so nothing is told as missed."""
    node.write("a")
    assert node.read() == ["a"]
    node.write("b")
    node.log.rotate(None)
    node.write("c")
    assert node.read() == ["b", "c"]
    assert not caplog.records


@pytest.mark.parametrize("packing", ["plain", "gzip", "zip"])
@pytest.mark.parametrize("copy", [False, True])
def test_three_rotations_between_two_polls(node: Node, packing: Packing, copy: bool) -> None:
    """Generations that were never the log while we looked are found in the archive."""
    node.write("a")
    assert node.read() == ["a"]
    for text in ("b", "c", "d"):
        node.write(text)
        node.log.rotate(node.archive, packing=packing, copy=copy)
    node.write("e")
    assert node.read() == ["b", "c", "d", "e"]


@pytest.mark.parametrize("packing", ["plain", "gzip", "zip"])
def test_a_gap_in_which_there_is_no_log(node: Node, packing: Packing) -> None:
    """Looked at while the log is put away and the next one has not begun, three times in a row:
    the old one is read to its end, the next one from its top."""
    node.write("a")
    found = node.read()
    for text in ("b", "c", "d"):
        node.write(text)
        node.log.rotate(node.archive, packing=packing, gap=lambda: found.extend(node.read()))
    node.write("e")
    assert found == ["a", "b", "c", "d"]
    assert node.read() == ["e"]


@pytest.mark.parametrize("packing", ["plain", "gzip", "zip"])
@pytest.mark.parametrize("copy", [False, True])
def test_what_was_rotated_while_the_agent_was_down(
    node: Node, packing: Packing, copy: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The archive is read on start, beginning in the middle of the file read last."""
    node.write("a")
    assert node.read() == ["a"]
    node.write("b")
    node.log.rotate(node.archive, packing=packing, copy=copy)
    node.write("c")
    node.log.rotate(node.archive, packing=packing, copy=copy)
    node.write("d")
    node.restart()
    assert node.read() == ["b", "c", "d"]
    assert not caplog.records


def test_a_truncated_file_that_grew_beyond_the_offset_is_known_as_new(node: Node) -> None:
    """Same inode, larger than before: only its content tells."""
    node.write("a")
    assert node.read() == ["a"]
    node.log.rotate(node.archive, copy=True)
    node.write(*(f"b{n}" for n in range(50)))
    assert node.read() == [f"b{n}" for n in range(50)]


def test_a_reused_inode_is_not_taken_for_the_old_file(node: Node) -> None:
    """A new file under the identity of the removed one is read from its top."""
    node.write("a", "b")
    assert node.read() == ["a", "b"]
    node.restart()
    content = node.log.path.read_bytes()
    node.log.path.write_bytes(content.replace(b">a<", b">c<").replace(b">b<", b">d<"))
    assert node.read() == ["c", "d"]


def test_the_archive_of_before_the_first_start_is_left_alone(node: Node) -> None:
    """History from before the agent was there is not sent."""
    node.write("old")
    node.log.rotate(node.archive)
    for path in node.archive.iterdir():
        os.utime(path, (1, 1))
    node.write("new")
    assert node.read() == ["new"]


def test_strange_files_in_the_archive_are_passed_over(node: Node) -> None:
    """Only what looks like Harmony's log counts."""
    node.write("a")
    assert node.read() == ["a"]
    node.archive.mkdir()
    (node.archive / "notes.txt").write_text("hello")
    (node.archive / "empty.xml").write_text("")
    (node.archive / "old.zip").write_bytes(b"PK\x03\x04garbage")
    os.utime(node.archive / "old.zip", (time.time() + 5, time.time() - 100))
    (node.archive / "folder").mkdir()
    node.write("b")
    node.log.rotate(node.archive)
    node.write("c")
    assert node.read() == ["b", "c"]


def test_a_file_renamed_in_place_is_found_and_other_logs_are_not(node: Node) -> None:
    """`Harmony.1.xml` beside the log is read after a restart, `Harmony.dbg` is not."""
    node.write("a")
    assert node.read() == ["a"]
    node.write("b")
    node.restart()
    node.log.rotate(node.home)
    (node.home / "Harmony.dbg").write_bytes(node.log.path.read_bytes().replace(b">b<", b">x<"))
    node.write("c")
    assert node.read() == ["b", "c"]


def test_an_encrypted_archive_is_passed_over(node: Node) -> None:
    """A zip that Python can't read is told and left out, once it is old enough to be whole."""
    node.write("a")
    assert node.read() == ["a"]
    node.write("b")
    node.log.rotate(node.archive)
    packed = node.archive / "z.zip"
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("x.xml", "<Log>")
    data = bytearray(packed.read_bytes())
    for place in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[place] |= 1  # the flag for encryption
    packed.write_bytes(data)
    node.restart()
    node.write("c")
    assert node.read() == ["b"]  # and waits: the zip might still be written
    old = time.time() - 61
    os.utime(packed, (old, old))
    node.position = replace(node.position, modified=int((old - 5) * 1e9))
    assert node.read() == ["c"]


def test_an_archive_that_is_still_being_packed_is_waited_for(node: Node) -> None:
    """Half a gzip file is not the end of it."""
    node.write("a")
    assert node.read() == ["a"]
    node.restart()
    node.write("b")
    node.log.rotate(node.archive, packing="gzip")
    node.write("c")
    packed = next(node.archive.iterdir())
    whole = packed.read_bytes()
    packed.write_bytes(whole[: len(whole) // 2])
    assert node.read() == []
    packed.write_bytes(whole)
    assert node.read() == ["b", "c"]


def test_a_plain_file_and_its_packed_copy_are_read_once(node: Node) -> None:
    """Both lie there for a while; after a restart as well."""
    node.write("a")
    node.log.rotate(node.archive)
    plain = next(node.archive.iterdir())
    node.write("b")
    assert node.read() == ["a", "b"]

    (node.archive / "copy.gz").write_bytes(gzip.compress(plain.read_bytes()))
    node.write("c")
    node.log.rotate(node.archive)
    node.restart()
    node.write("d")
    assert node.read() == ["c", "d"]


def test_a_torn_event_is_waited_for(node: Node) -> None:
    """Until its end is written; meanwhile it counts as pending."""
    node.write("a")
    assert node.read() == ["a"]
    whole = node.log.compose(element("Detail", "b"), thread=1)
    end = node.log.path.read_bytes().rindex(CLOSING)
    with node.log.path.open("r+b") as file:
        file.seek(end)
        file.write(whole[:30])
    assert node.read() == []
    assert node.behind > 0
    with node.log.path.open("r+b") as file:
        file.seek(end)
        file.write(whole + CLOSING)
    assert node.read() == ["b"]
    assert node.behind == 0
    assert node.damage == []


def test_a_torn_event_in_a_renamed_file_is_waited_for_until_the_next_one_begins(
    node: Node,
) -> None:
    """While there is no new log, the old one may still be written to."""
    node.write("a")
    assert node.read() == ["a"]
    whole = node.log.compose(element("Detail", "b"), thread=1)
    end = node.log.path.read_bytes().rindex(CLOSING)
    with node.log.path.open("r+b") as file:
        file.seek(end)
        file.write(whole[:30])
        file.flush()
        node.log.path.rename(node.home / "elsewhere.xml")
        assert node.read() == []
        file.write(whole[30:])
    assert node.read() == ["b"]
    assert node.damage == []


def test_a_torn_event_at_the_end_of_a_rotated_file_is_told(node: Node) -> None:
    """Its end will never come: kept raw, counted, and the next file read."""
    node.write("a")
    assert node.read() == ["a"]
    with node.log.path.open("ab") as file:
        file.write(b"<Event><Detail>half")
    node.log.path.rename(node.home / "elsewhere.xml")
    node.log = HarmonyLog(node.log.path)
    node.log.start(datetime(2026, 3, 10))  # noqa: DTZ001 - local time, as in the log
    node.write("b")
    assert [text.split(">")[-1] for text in node.read()] == ["half", "b"]
    assert node.damage == ["unreadable"]


def test_an_oversized_event_is_skipped(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning is kept, it is told once, and what follows is read."""
    monkeypatch.setattr(taking, "MOST_EVENT_BYTES", 1024 * 1024)
    node.write("a")
    huge = element("Detail", "x" * 5_000_000)
    node.log.event(huge, thread=1, cuts=[3_000_000, 4_999_990])
    node.write("b")
    texts = node.read()
    assert texts[0] == "a"
    assert texts[-1] == "b"
    assert len(texts) == 3
    assert len(texts[1]) <= 64 * 1024
    assert node.damage == ["oversized"]


@pytest.mark.parametrize("read_to", [256 * 1024, 512 * 1024 - 256], ids=["first", "second"])
def test_an_oversized_event_whose_end_lies_across_two_reads(
    node: Node, monkeypatch: pytest.MonkeyPatch, read_to: int
) -> None:
    """Skipping does not miss the end tag, wherever reads are cut."""
    monkeypatch.setattr(taking, "MOST_EVENT_BYTES", 64 * 1024)
    node.write("a")
    assert node.read() == ["a"]
    around = len(node.log.compose(element("Detail", ""), thread=1).strip())
    # A read is 256 KiB, the next one begins 256 bytes earlier; this one ends within the end tag.
    node.write("x" * (read_to - around + 3), "b")
    assert node.read()[1:] == ["b"]
    assert node.damage == ["oversized"]


def test_a_large_event_is_read_whole(node: Node) -> None:
    """Larger than one read, smaller than the limit."""
    node.write("y" * 2_000_000, "b")
    assert [len(text) for text in node.read()] == [2_000_000, 1]


def test_a_read_whose_result_was_lost_is_repeated(node: Node) -> None:
    """Reading changes nothing: the same position gives the same events, threads included."""
    node.write("a")
    assert node.read() == ["a"]
    node.write("b")
    node.log.event(element("Thread", action="named"), thread=1)
    first = node.tail.read(node.position, LIMITS)
    again = node.tail.read(node.position, LIMITS)
    assert [event.thread for event in first.events] == [None, "named"]
    assert again == first


def test_what_was_lost_is_told_once(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """Without an archive a restart can't find what was rotated away: one warning says so."""
    node.write("a")
    assert node.read() == ["a"]
    node.restart()
    node.write("lost")
    node.log.rotate(None)
    assert node.read() == []
    assert node.read() == []
    node.write("b")
    assert node.read() == ["b"]
    assert len([r for r in caplog.records if "is lost" in r.message]) == 1


def test_what_was_lost_is_counted_as_far_as_it_is_known(node: Node) -> None:
    """Of a file with ten events two were read when it went away: the rest of it is the gap, also
    for a new process."""
    node.write(*(f"event {number}" for number in range(10)))
    size = node.log.path.stat().st_size
    reading = node.tail.read(node.position, Limits(2, 10**6))
    assert reading.gap is None
    node.position = Position.from_json(reading.after.to_json())
    node.restart()
    node.log.rotate()
    node.write("next")
    reading = node.tail.read(node.position, LIMITS)
    assert [event.message for event in reading.events] == ["next"]
    assert reading.gap == size - node.position.offset
    assert node.tail.read(reading.after, LIMITS).gap is None


def test_all_members_of_a_zip_are_read_in_order(node: Node) -> None:
    """A day's logs in one zip: each is read once, by its date and not by its place; what is no log
    is passed over."""
    node.write("a")
    assert node.read() == ["a"]
    node.write("b")
    contents = []
    for text in ("c", "d", "e"):
        contents.append(node.log.path.read_bytes())
        node.log.rotate()
        node.write(text)
    node.archive.mkdir(exist_ok=True)
    with zipfile.ZipFile(node.archive / "day.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for place, day in ((2, 12), (0, 10), (1, 11)):
            info = zipfile.ZipInfo(f"Harmony{9 - place}.xml", (2026, 3, day, 0, 0, 0))
            packed.writestr(info, contents[place])
        packed.writestr("readme.txt", "nothing of interest")
        packed.mkdir("empty")
    node.restart()
    assert node.read() == ["b", "c", "d", "e"]
    assert node.read() == []
    node.restart()
    node.write("f")
    assert node.read() == ["f"]


def test_a_reader_within_a_zip_goes_on_behind_its_place(node: Node) -> None:
    """Restarted in the middle of a zip of many members: none before that place is read again,
    though there are more of them than are remembered."""
    contents = []
    for number in range(tail._MOST_FINISHED + 6):
        node.write(f"event {number}", "more")
        contents.append(node.log.path.read_bytes())
        node.log.rotate()
    node.archive.mkdir(exist_ok=True)
    with zipfile.ZipFile(node.archive / "all.zip", "w") as packed:
        for number, content in enumerate(contents):
            packed.writestr(zipfile.ZipInfo(f"{number}.xml"), content)
    found = []
    for _ in range(2 * len(contents)):
        reading = node.tail.read(node.position, Limits(1, 10**6))
        found += [event.message for event in reading.events]
        node.position = reading.after
        node.restart()
    assert [text for text in found if text != "more"] == [
        f"event {number}" for number in range(len(contents))
    ]
    assert node.read() == []


def test_an_unreadable_severity_is_a_warning(node: Node) -> None:
    """Broken events are found by their element."""
    node.log.write(b"<Event><Detail>a</Detall></Event>\n")
    events = node.tail.read(node.position, LIMITS).events
    assert [(e.element, e.severity) for e in events] == [(UNREADABLE, "warning")]


def test_a_rotation_while_the_files_are_looked_through(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is put away after the archive was listed and before the log is opened."""
    node.write("a")
    assert node.read() == ["a"]
    node.log.rotate(node.archive)
    node.write("b")
    real = generations.open_source
    opened: list[Generation] = []

    def rotating(generation: Generation, scratch: Path) -> Source | None:
        if not generation.archived:
            opened.append(generation)
        # The log is opened twice: to see whether it is the file read last, and to be read.
        if not generation.archived and len(opened) == 2:
            node.log.rotate(node.archive)
            node.write("c")
        return real(generation, scratch)

    monkeypatch.setattr(tail, "open_source", rotating)
    assert node.read() == []  # looked anew at the next poll
    assert node.read() == ["b", "c"]


def test_a_packed_copy_that_appears_late_is_not_read_again(node: Node) -> None:
    """The file was read to its end through the open handle, before it was in the archive."""
    node.write("a")
    assert node.read() == ["a"]
    node.write("b")
    content = node.log.path.read_bytes()
    node.log.rotate(None)
    node.write("c")
    assert node.read() == ["b", "c"]
    node.archive.mkdir()
    (node.archive / "late.gz").write_bytes(gzip.compress(content))
    node.write("d")
    node.log.rotate(node.archive)
    node.write("e")
    assert node.read() == ["d", "e"]
