"""The change marker's format, and what a reader concludes from it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.sync.markers.marker import LARGEST_MARKER, Marker, News, Place, news

PATHS = st.text(min_size=1, max_size=12)
WRITTEN = st.dictionaries(PATHS, st.booleans(), max_size=8)


def wire(**changes: Any) -> bytes:
    """A stored marker with some fields changed."""
    marker = Marker.begin("epoch", "nonce").telling({"conf/a": False, "conf/b": True}, "n2")
    return json.dumps(json.loads(marker.to_bytes()) | changes).encode()


@given(st.lists(WRITTEN, max_size=6), st.booleans())
def test_what_is_stored_is_read_again(history: list[dict[str, bool]], closed: bool) -> None:
    """Format and parse are each other's inverse, also for names that are no text."""
    marker = Marker.begin("epoch", "0")
    for number, written in enumerate(history):
        marker = marker.telling(written, str(number), closed=closed)
    assert Marker.from_bytes(marker.to_bytes()) == marker


@given(st.lists(WRITTEN, max_size=12), st.data())
def test_a_reader_learns_all_it_missed_and_nothing_twice(
    history: list[dict[str, bool]], data: st.DataObject
) -> None:
    """From any earlier place of the epoch: the last word on each path changed since."""
    markers = [Marker.begin("epoch", "0")]
    for written in history:
        markers.append(markers[-1].telling(written, "n"))
    read = data.draw(st.integers(0, len(history)))
    missed: dict[str, bool] = {}
    for written in history[read:]:
        missed.update(written)
    assert news(markers[read].place, markers[-1]) == News(missed)
    assert news(markers[-1].place, markers[-1]) == News()


@given(st.integers(0, 600), st.integers(0, 600), st.integers(1, 900))
def test_who_misses_more_than_a_marker_remembers_is_told_so(
    before: int, missed: int, paths: int
) -> None:
    """There is a gap exactly if one of the changes after the reader's place is not in it."""
    marker = Marker.begin("epoch", "0").telling({f"a/{n}": False for n in range(before)}, "1")
    place = marker.place
    numbers = [f"b/{number % paths}" for number in range(missed)]
    for path in numbers:
        marker = marker.telling({path: False}, "n")
    found = news(place, marker)
    assert found.gap == (len(set(numbers)) > 256)
    assert len(marker.changes) <= 256
    if not found.gap:
        assert set(found.named) == set(numbers)


def test_one_busy_file_does_not_push_the_others_out() -> None:
    """Of each path only the latest change is kept: a host file changes after every action."""
    marker = Marker.begin("epoch", "0")
    place = marker.place
    marker = marker.telling({"conf/Options.xml": False}, "1")
    for number in range(1000):
        marker = marker.telling({"hosts/Busy.xml": number % 2 == 0}, "n")
    assert news(place, marker) == News({"conf/Options.xml": False, "hosts/Busy.xml": False})


def test_a_new_epoch_means_a_listing() -> None:
    """A node that can't vouch for what it told before has the others look at everything."""
    marker = Marker.begin("second", "0").telling({"conf/a": True}, "1")
    assert news(Place("first", 900), marker) == News({"conf/a": True}, gap=True)


def test_a_node_never_heard_of_means_a_listing() -> None:
    """It may have written anything before its first marker was read."""
    assert news(None, Marker.begin("epoch", "0")).gap


def test_a_marker_from_the_past_means_a_listing() -> None:
    """A repository brought back from a backup: the numbers run backwards."""
    marker = Marker.begin("epoch", "0").telling({"conf/a": False}, "1")
    assert news(Place("epoch", 77), marker) == News({"conf/a": False}, gap=True)


def test_a_marker_that_can_not_be_read_means_a_listing() -> None:
    """Garbage at a place where news are expected may hide news."""
    assert news(Place("epoch", 1), None) == News(gap=True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"text"',
        b"[" * 100_000,
        wire(format=2),
        wire(epoch=None),
        wire(since="1"),
        wire(since=True),
        wire(since=-1),
        wire(last=99),
        wire(changes=[[2, "conf/a", False]]),
        wire(changes=[[3, "conf/a", False], [2, "conf/b", False]]),
        wire(changes=[[2, "conf/a", 0], [3, "conf/b", False]]),
        wire(changes=[[2, ["conf/a"], False], [3, "conf/b", False]]),
        wire(changes=[[2], [3]]),
        wire(changes=5),
        wire(closed="no"),
    ],
)
def test_garbage_and_other_formats_are_no_marker(data: bytes) -> None:
    """Whatever lies there is recognized, and nothing is raised."""
    assert Marker.from_bytes(data) is None


@given(
    st.binary() | st.recursive(st.none() | st.integers(), st.lists).map(json.dumps).map(str.encode)
)
def test_no_bytes_make_the_parser_fail(data: bytes) -> None:
    """Every answer is a marker or None."""
    assert Marker.from_bytes(data) is None


def test_the_largest_marker_is_smaller_than_what_is_read() -> None:
    """256 names of the greatest length, each byte of them escaped."""
    names = {f"{number:04}" + "\udc80" * 1500: False for number in range(256)}
    assert len(Marker.begin("e" * 32, "n" * 32).telling(names, "n").to_bytes()) < LARGEST_MARKER


def test_only_the_last_marker_of_a_node_is_closed() -> None:
    """A closed marker tells that its epoch may go on."""
    marker = Marker.begin("epoch", "0")
    assert not marker.closed
    assert marker.telling({}, "1", closed=True).closed
    assert not marker.telling({}, "1", closed=True).telling({"conf/a": False}, "2").closed
