"""From bytes to events: heads, threads, times, ids, and what is broken."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.logs.event import Event
from harmony_agent.logs.sources import reader as reader_module
from harmony_agent.logs.sources.position import MOST_THREADS, Context, Position
from harmony_agent.logs.sources.reader import EventReader, Parsed
from harmony_agent.logs.sources.severity import UNREADABLE, severity_of
from harmony_agent.logs.systems.interface import Limits

# The sample of Harmony's documented format.
SAMPLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<Log><Session product="Harmony" version="5.8.1.8"><System/><License/>
<Run date="2026/03/10 08:00:00" TN="1" CN="1" EN="1" TN1="Local Listener">
<Event><Thread type="AutoRun" action="&lt;send&gt;box1@ACME AS2"/>\
<Mark date="2026/03/10 08:00:02" TN="7" EN="1"/></Event>
<Event><Detail level="1">Executing 'sh -c "ls | wc -l"'</Detail>\
<Mark date="2026/03/10 08:00:02" TN="7" EN="2"/></Event>
<Event><Result text="Error" command="PUT a.edi" line="2">550 refused
see server log</Result><Mark date="2026/03/10 08:00:03" TN="7" CN="4" EN="3"/></Event>
<Event><End/><Mark date="2026/03/10 08:00:03" TN="7" EN="4"/></Event>
</Run></Session></Log>"""
LIMITS = Limits(entries=1000, size=1024 * 1024)


def reader(node: str = "harmony-1") -> EventReader:
    """A reader in a zone one hour ahead of UTC."""
    zone = ZoneInfo("Europe/Berlin")
    return EventReader(system="System1", node=node, serial=lambda: "HC1234-ZZ5678", zone=zone)


def read(data: bytes, context: Context | None = None, limits: Limits = LIMITS) -> Parsed:
    """Read once."""
    return reader().read(data, context or Context(), limits)


def event(content: str, mark: str = 'date="2026/03/10 08:00:02" TN="7" EN="1"') -> bytes:
    """One event's bytes."""
    return f"<Event>{content}<Mark {mark}/></Event>\n".encode()


def test_the_documented_sample() -> None:
    """Every field of the log event, from the sample of the format."""
    context = Context()
    parsed = read(SAMPLE, context)
    assert [e.element for e in parsed.events] == ["Thread", "Detail", "Result", "End"]
    assert {e.thread for e in parsed.events} == {"<send>box1@ACME AS2"}
    result = parsed.events[2]
    assert result.to_json() == {
        "time": "2026-03-10T07:00:03.000Z",
        "system": "System1",
        "node": "harmony-1",
        "serial": "HC1234-ZZ5678",
        "run": "2026/03/10 08:00:00",
        "number": 3,
        "thread": "<send>box1@ACME AS2",
        "command": "4",
        "element": "Result",
        "severity": "error",
        "message": "Error: PUT a.edi: 550 refused\nsee server log",
        "attributes": {"text": "Error", "command": "PUT a.edi", "line": "2"},
        "id": result.id,
    }
    assert SAMPLE[parsed.consumed :] == b"\n</Run></Session></Log>"
    assert context.threads == {"1": "Local Listener"}
    assert context.product == "Harmony 5.8.1.8"
    assert not parsed.damage


def test_ids_depend_on_content_and_place_alone() -> None:
    """The same however the log is cut into reads; another for another node, run or event."""
    whole = [e.id for e in read(SAMPLE).events]
    context, offset, parts = Context(), 0, []
    while parsed := read(SAMPLE[offset:], context, Limits(1, 10**6)).consumed:
        again = read(SAMPLE[offset:], context.copy(), Limits(1, 10**6))
        parts += [e.id for e in again.events]
        offset += parsed
    assert parts == whole
    assert len(set(whole)) == 4
    other_node = reader("harmony-2").read(SAMPLE, Context(), LIMITS)
    other_run = read(SAMPLE.replace(b"2026/03/10 08:00:00", b"2026/03/10 07:00:00"))
    for events in (other_node.events, other_run.events):
        assert not set(whole) & {e.id for e in events}


def test_a_new_session_in_the_middle_begins_a_new_run() -> None:
    """After a restart in append mode: run, numbers and living threads are the new ones."""
    data = SAMPLE.replace(b"</Run></Session></Log>", b"</Run></Session>\n") + (
        b'<Session product="Harmony" version="5.9"><System/>\n'
        b'<Run date="2026/03/11 09:00:00" TN="1" EN="1" TN2="A > B" TN3=\'C\'>\n'
    )
    data += event("<Detail>x</Detail>", 'date="2026/03/11 09:00:01" TN="2" EN="1"')
    data += event("<Detail>y</Detail>", 'date="2026/03/11 09:00:01" TN="1" EN="2"')
    context = Context()
    events = read(data, context).events[4:]
    assert [(e.run, e.number, e.thread) for e in events] == [
        ("2026/03/11 09:00:00", 1, "A > B"),
        ("2026/03/11 09:00:00", 2, None),
    ]
    assert context.product == "Harmony 5.9"


@pytest.mark.parametrize("last", ["End", "Stop"])
def test_a_thread_has_its_name_until_its_end(last: str) -> None:
    """The end itself still bears the name; what follows does not."""
    data = event('<Thread type="AutoRun" action="a"/>') + event(f"<{last}/>")
    data += event("<Detail>x</Detail>")
    assert [e.thread for e in read(data).events] == ["a", "a", None]


def test_milliseconds_are_kept() -> None:
    """Mark's `ms`, where Harmony writes it."""
    parsed = read(event("<End/>", 'date="2026/03/10 08:00:02" ms="45" TN="7" EN="1"'))
    assert parsed.events[0].time == datetime(2026, 3, 10, 7, 0, 2, 45_000, UTC)


def test_a_mark_without_a_time_takes_the_time_before() -> None:
    """Nothing is dropped for a Mark that is not as documented."""
    data = event("<End/>") + event("<End/>", 'date="?" EN="x"') + event("<End/>", "")
    events = read(data).events
    assert len({e.time for e in events}) == 1
    assert [e.number for e in events] == [1, 0, 0]


def test_clocks_that_change_while_the_agent_restarts() -> None:
    """Both changes of a year, each event read by an agent that knows only what the checkpoint
    keeps: times are right, the hour that comes twice included."""
    written = [
        ("2026/03/29 01:59:59", datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)),
        ("2026/03/29 03:00:00", datetime(2026, 3, 29, 1, 0, 0, tzinfo=UTC)),
        ("2026/10/25 01:59:59", datetime(2026, 10, 24, 23, 59, 59, tzinfo=UTC)),
        ("2026/10/25 02:30:00", datetime(2026, 10, 25, 0, 30, 0, tzinfo=UTC)),
        ("2026/10/25 02:59:58", datetime(2026, 10, 25, 0, 59, 58, tzinfo=UTC)),
        ("2026/10/25 02:00:01", datetime(2026, 10, 25, 1, 0, 1, tzinfo=UTC)),
        ("2026/10/25 02:30:00", datetime(2026, 10, 25, 1, 30, 0, tzinfo=UTC)),
        ("2026/10/25 03:00:00", datetime(2026, 10, 25, 2, 0, 0, tzinfo=UTC)),
    ]
    position = Position(0)
    for date, moment in written:
        context = Position.from_json(json.loads(json.dumps(position.to_json()))).context
        [found] = read(event("<End/>", f'date="{date}" TN="7" EN="1"'), context).events
        assert found.time == moment
        position = Position(0, context=context)


def test_unfinished_events_are_left_for_later() -> None:
    """Neither a torn event nor closing tags are consumed."""
    data = event("<End/>")
    for rest in (b"<Event><Det", b"<Event><Detail>x</Detail><Mark ", b"</Run></Session></Log>"):
        parsed = read(data + rest)
        assert len(parsed.events) == 1
        assert parsed.consumed == len(data) - 1


def test_end_tags_in_cdata_and_comments_are_text() -> None:
    """Also while the CDATA is not written to its end yet."""
    content = "<Detail><![CDATA[a</Event><Event>]]>b<!-- </Event> --></Detail>"
    data = event(content)
    assert [e.message for e in read(data).events] == ["a</Event><Event>b"]
    assert read(data[: data.index(b"]]>")]).consumed == 0


def test_an_event_that_was_never_finished_is_told_and_the_next_one_read() -> None:
    """Harmony died in the middle of a write and went on after it."""
    torn = b'<Event><Detail level="1">half of'
    parsed = read(event("<End/>") + torn + event("<Detail>next</Detail>"))
    assert [e.element for e in parsed.events] == ["End", UNREADABLE, "Detail"]
    assert parsed.events[1].message == torn.decode()
    assert [(d.kind, d.offset) for d in parsed.damage] == [("unreadable", len(event("<End/>")) - 1)]


def test_broken_markup_is_kept_raw() -> None:
    """What can't be read is delivered as it stands, with what its Mark tells."""
    broken = event("<Detail>a</Detall>", 'date="2026/03/10 08:00:09" TN="7" EN="5"')
    parsed = read(broken + event("<End/>"))
    first = parsed.events[0]
    assert (first.element, first.number, first.severity) == (UNREADABLE, 5, "warning")
    assert first.time == datetime(2026, 3, 10, 7, 0, 9, tzinfo=UTC)
    assert "<Detail>a</Detall>" in first.message
    assert parsed.events[1].element == "End"


@pytest.mark.parametrize("illegal", [b"\x00", b"\x1b", b"\xff", b"\xe2\x82", b"\xed\xa0\x80"])
def test_illegal_bytes_cost_only_themselves(illegal: bytes) -> None:
    """They are replaced and counted; the event and its neighbors are read."""
    data = event("<End/>") + event("<Detail>a~b</Detail>").replace(b"~", illegal) + event("<End/>")
    parsed = read(data)
    assert [e.element for e in parsed.events] == ["End", "Detail", "End"]
    assert parsed.events[1].message.strip("ab").strip("\ufffd") == ""
    assert [(d.kind, d.offset) for d in parsed.damage] == [
        ("illegal-characters", len(event("<End/>")) - 1)
    ]


def test_line_ends_are_one_character() -> None:
    """As XML reads them."""
    parsed = read(event("<Detail>a\r\nb\rc</Detail>"))
    assert parsed.events[0].message == "a\nb\nc"


def test_batches_keep_the_limits() -> None:
    """Neither more entries nor more bytes than asked for, but at least one event."""
    data = event("<Detail>" + "x" * 1000 + "</Detail>") * 10
    assert len(read(data, limits=Limits(3, 10**6)).events) == 3
    by_size = read(data, limits=Limits(100, 8000)).events
    assert 1 < len(by_size) < 8
    assert sum(len(str(e.to_json())) for e in by_size) < 8000
    assert len(read(data, limits=Limits(100, 10)).events) == 1


@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_garbage_stops_the_reader(garbage: bytes, at: int) -> None:
    """Whatever bytes stand in the log, reading ends, and does not go back."""
    data = SAMPLE[:at] + garbage + SAMPLE[at:]
    parsed = reader().read(data, Context(), LIMITS, final=True)
    assert 0 <= parsed.consumed <= len(data)
    assert all(isinstance(e, Event) and e.to_json() for e in parsed.events)


def test_a_fault_of_the_reader_costs_one_event_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """If reading an event fails in a way that nobody thought of, it is delivered as it stands,
    counted, and its neighbors are read."""

    def faulty(element: str, attributes: Mapping[str, str]) -> str:
        if element == "Hint":
            raise LookupError("nobody thought of it")
        return severity_of(element, attributes)

    monkeypatch.setattr(reader_module, "severity_of", faulty)
    data = event("<End/>") + event("<Hint>strange</Hint>") + event("<Detail>next</Detail>")
    parsed = read(data)
    assert [e.element for e in parsed.events] == ["End", UNREADABLE, "Detail"]
    assert "<Hint>strange</Hint>" in parsed.events[1].message
    assert [(d.kind, d.offset) for d in parsed.damage] == [("unreadable", len(event("<End/>")) - 1)]
    assert parsed.consumed == len(data) - 1


def test_threads_that_never_end_do_not_pile_up() -> None:
    """The checkpoint stays small; the oldest names go."""
    context = Context()
    for number in range(MOST_THREADS + 5):
        context.name_thread(str(number), "a")
    assert len(context.threads) == MOST_THREADS
    assert "4" not in context.threads


def test_a_position_survives_as_json() -> None:
    """What the checkpoint stores comes back equal."""
    context = Context()
    read(SAMPLE, context)
    position = Position(5, 1, 2, 3, "abc", oversized=True, finished=("x",), context=context)
    assert Position.from_json(position.to_json()) == position
