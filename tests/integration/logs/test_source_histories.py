"""Whatever Harmony does to its log, the tail reads every event once, in order."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.harmony_log import HarmonyLog, Packing, element
from harmony_agent.logs.event import Event
from harmony_agent.logs.sources.position import Position
from harmony_agent.logs.sources.reader import EventReader
from harmony_agent.logs.sources.tail import Tail
from harmony_agent.logs.systems.interface import Limits

LIMITS = Limits(entries=7, size=1024 * 1024)
Action = Callable[["History"], None]


class History:
    """Harmony on one side, a tail on the other, and what the tail should say."""

    def __init__(self, home: Path) -> None:
        self.log = HarmonyLog(home / "Harmony.xml", torn=self.read)
        self.archive = home / "archive"
        self.expected: list[tuple[str, int, str | None, str]] = []
        self.read_events: list[Event] = []
        self.position = Position(0)
        self._clock = datetime(2026, 3, 10, 8)  # noqa: DTZ001 - local time, as in the log
        self._run = ""
        self._home = home
        self._tail = self._new_tail()

    def start_harmony(self) -> None:
        """A new session and run, appended if there is a log."""
        self._clock += timedelta(seconds=1)
        self._run = f"{self._clock:%Y/%m/%d %H:%M:%S}"
        self.log.threads = {1: "Local Listener"}
        self.log.start(self._clock)

    def event(self, thread: int, kind: str, text: str, cuts: list[int], mark_first: bool) -> None:
        """One event, and what is expected of it."""
        content = {
            "Thread": element("Thread", type="AutoRun", action=f"<{text}>box@host"),
            "Detail": element("Detail", text, level="1"),
            "CDATA": f"<Detail><![CDATA[{text}</Event><Event>]]></Detail>",
            "comment": f"<Detail>{text}<!-- </Event> --></Detail>",
            "End": "<End/>",
        }[kind]
        if kind == "Thread":
            self.log.threads[thread] = f"<{text}>box@host"
        name = self.log.threads.get(thread)
        if kind == "End":
            self.log.threads.pop(thread, None)
        message = {
            "Thread": f"AutoRun <{text}>box@host",
            "CDATA": f"{text}</Event><Event>",
            "End": "End",
        }.get(kind, text)
        self.expected.append((self._run, self.log.number + 1, name, message))
        self.log.event(content, thread=thread, moment=self._clock, cuts=cuts, mark_first=mark_first)

    def rotate(self, copy: bool, packing: Packing, look: bool) -> None:
        """Put the log away; `look` polls while there is none."""
        gap = self.read if look else lambda: None
        self.log.rotate(self.archive, copy=copy, packing=packing, gap=gap)

    def read(self) -> None:
        """One poll: read on until there is nothing more."""
        while True:
            reading = self._tail.read(self.position, LIMITS)
            assert not reading.damage
            self.read_events += reading.events
            if reading.after == self.position:
                return
            self.position = reading.after

    def lose_a_read(self) -> None:
        """A read whose result never arrives: it is simply repeated."""
        self._tail.read(self.position, LIMITS)

    def restart_agent(self) -> None:
        """Only what survives as JSON is kept."""
        self.position = Position.from_json(json.loads(json.dumps(self.position.to_json())))
        self.close()
        self._tail = self._new_tail()

    def close(self) -> None:
        """Close the tail's file."""
        self._tail.close()

    def _new_tail(self) -> Tail:
        reader = EventReader(system="S", node="n", serial=lambda: None, zone=ZoneInfo("UTC"))
        return Tail(self.log.path, self.archive, reader, self._home)


TEXTS = st.text(
    st.characters(blacklist_categories=["Cs", "Cc", "Cn"], blacklist_characters="]"), min_size=1
).filter(str.strip)
EVENTS = st.builds(
    lambda *values: lambda history: history.event(*values),
    st.integers(1, 3),
    st.sampled_from(["Thread", "Detail", "Detail", "CDATA", "comment", "End"]),
    TEXTS.map(lambda text: text.replace("--", "").replace("<", "(").replace("&", "+") or "x"),
    st.lists(st.integers(1, 200), max_size=3),
    st.booleans(),
)
ROTATIONS = st.builds(
    lambda *values: lambda history: history.rotate(*values),
    st.booleans(),
    st.sampled_from(["plain", "gzip", "zip"]),
    st.booleans(),
)
ACTIONS: st.SearchStrategy[Action] = st.one_of(
    EVENTS,
    EVENTS,
    EVENTS,
    ROTATIONS,
    st.just(History.read),
    st.just(History.lose_a_read),
    st.just(History.restart_agent),
    st.just(History.start_harmony),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, max_size=40))
def test_every_event_is_read_once_and_in_order(actions: list[Action]) -> None:
    """Appends, torn writes, rotations of every form, restarts of either side, in any order."""
    with TemporaryDirectory() as directory:
        history = History(Path(directory))
        try:
            history.start_harmony()
            for action in actions:
                action(history)
            history.read()
            seen = [(e.run, e.number, e.thread, e.message) for e in history.read_events]
            assert seen == history.expected
            ids = {event.id for event in history.read_events}
            assert len(ids) == len(seen)
        finally:
            history.close()
