"""What is broken in the log is kept, counted and told with its place, and what follows is read."""

import os
import tracemalloc
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from fixtures.harmony_log import CLOSING, element
from harmony_agent.logs.sources.severity import UNREADABLE
from tests.integration.logs.scripted import ScriptedLogSystem
from tests.integration.logs.test_pipeline_stream import Node, until

MEBIBYTE = 1024 * 1024


def damaged(kind: str) -> float:
    """What the metric says by now."""
    name = "harmony_agent_log_damaged_events_total"
    return REGISTRY.get_sample_value(name, {"kind": kind}) or 0.0


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node whose Harmony has written three events."""
    node = Node(tmp_path)
    node.log.start()
    node.write(3)
    return node


def end_of_events(node: Node) -> int:
    """The byte offset at which Harmony writes on."""
    return node.log.path.read_bytes().rindex(CLOSING)


BROKEN = {
    "unreadable": [
        b"<Event><Detail>a</Detall><Mark/></Event>\n",
        b"<Event><Detail>never finished\n<Event><End/><Mark/></Event>\n",
        b"text between events<Event><End/><Mark/></Event>\n",
        b"<Event><Detail>&undefined;<b></Detail></Event>\n",
    ],
    "illegal-characters": [
        b"<Event><Detail>nul \x00 here</Detail><Mark/></Event>\n",
        b"<Event><Detail>\xff\xfe</Detail><Mark/></Event>\n",
    ],
}


@pytest.mark.parametrize(
    ("kind", "broken"), [(kind, broken) for kind, ways in BROKEN.items() for broken in ways]
)
async def test_damage_is_told_with_its_offset_and_passed(
    node: Node, caplog: pytest.LogCaptureFixture, kind: str, broken: bytes
) -> None:
    """Every event around it arrives; the damage counts once, as metric and in the status, and the
    agent's log names the byte in the file where it begins."""
    before, offset = damaged(kind), end_of_events(node)
    node.log.write(broken)
    node.write(3)
    system = ScriptedLogSystem()
    async with node.running(system) as stream:
        await until(lambda: "event 5" in {event.message for event in system.received})
        assert stream.status()["damagedEvents"] == 1
    arrived = [event.message for event in system.received]
    assert [text for text in arrived if text.startswith("event ")] == node.messages()
    assert damaged(kind) == before + 1
    [told] = [record for record in caplog.records if "damaged events" in record.message]
    assert told.__dict__["kind"] == kind
    assert told.__dict__["first_offset"] in (offset - 1, offset)  # with the line end before it


async def test_an_event_of_a_hundred_megabytes_is_refused(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """Its beginning arrives as an unreadable event, it is told once, all else arrives, and memory
    holds far less than it."""
    offset = end_of_events(node)
    with node.log.path.open("r+b") as file:  # with a hole, or writing would take longest
        file.seek(offset)
        file.write(b'<Event><Detail level="1">too much')
        file.seek(100 * MEBIBYTE, os.SEEK_CUR)
        rest = b'</Detail><Mark date="2026/03/10 08:00:00" TN="1" EN="4"/></Event>\n' + CLOSING
        file.write(rest)
    node.log._end = node.log.path.stat().st_size - len(CLOSING)
    node.write(3)
    system = ScriptedLogSystem()
    tracemalloc.start()
    try:
        async with node.running(system) as stream:
            await until(lambda: len(system.received) == 7)
            assert stream.status()["damagedEvents"] == 1
        assert tracemalloc.get_traced_memory()[1] < 70 * MEBIBYTE
    finally:
        tracemalloc.stop()
    elements = [event.element for event in system.received]
    assert elements == ["Detail"] * 3 + [UNREADABLE] + ["Detail"] * 3
    assert "too much" in system.received[3].message
    [told] = [record for record in caplog.records if "damaged events" in record.message]
    assert (told.__dict__["kind"], told.__dict__["first_offset"]) == ("oversized", offset - 1)


async def test_a_log_that_was_cut_off_is_read_again(node: Node) -> None:
    """A file that lost its end (a disk that was full, a volume restored): what stands in it is
    delivered once more under the same ids, and what is written from then on arrives."""
    system = ScriptedLogSystem()
    async with node.running(system) as stream:
        await until(lambda: len(system.received) == 3)
        os.truncate(node.log.path, end_of_events(node) - 30)
        node.log._end = node.log.path.stat().st_size
        node.log.event(element("Detail", "afterwards"), thread=1)
        await until(lambda: "afterwards" in {event.message for event in system.received})
        assert stream.status()["damagedEvents"] == 1  # the event that was cut in two
    ids = {event.message: event.id for event in system.received[:3]}
    again = [event for event in system.received[3:] if event.message in ids]
    assert [event.message for event in again] == ["event 0", "event 1"]
    assert all(event.id == ids[event.message] for event in again)
