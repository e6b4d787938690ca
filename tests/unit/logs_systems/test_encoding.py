"""Events as JSON, and shortened copies."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmony_agent.logs.systems.datadog_intake import Entries, classify
from harmony_agent.logs.systems.delivery import Outcome
from harmony_agent.logs.systems.encoding import shortened, split_text, to_json
from harmony_agent.logs.systems.splunk_hec import Envelope
from tests.unit.logs_systems.events import make_event

LIMIT = 1_000_000


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(4, 50))
def test_a_text_is_split_between_characters(text: str, size: int) -> None:
    """Joined again it is the same, and no piece is too long."""
    pieces = split_text(text, size)
    assert "".join(pieces) == text
    assert all(len(piece.encode()) <= size for piece in pieces)


@given(
    message=st.text(max_size=400),
    attributes=st.dictionaries(st.text(max_size=5), st.text(max_size=300), max_size=5),
)
def test_a_shortened_event_keeps_its_identity_and_fits(
    message: str, attributes: dict[str, str]
) -> None:
    """Short texts stay whole, long ones say that they were cut."""
    event = make_event(1, message=message, attributes=attributes)
    copy = shortened(event, 500)
    assert (copy.id, copy.number, set(copy.attributes)) == (event.id, 1, set(attributes))
    texts = [copy.message, *copy.attributes.values()]
    assert sum(len(text.encode()) for text in texts) <= 500 + 36 * len(texts)
    assert copy.message == message or copy.message.endswith("[shortened by harmony-agent]")


@pytest.mark.parametrize("odd", [2**70, -(2**63) - 1, "\ud800"])
def test_what_the_fast_encoder_refuses_is_encoded_all_the_same(odd: object) -> None:
    """A number beyond 64 bits or half a character must not stop the log stream."""
    assert json.loads(to_json({"x": odd})) == {"x": odd}
    piece = Envelope("h", "s", "t").wrap(make_event(2**70, id="x"))
    assert json.loads(piece.data)["event"]["number"] == 2**70


@pytest.mark.parametrize("character", ["x", "ü", "😀", "\x01", '"', "\n"])
@pytest.mark.parametrize("length", [900_000, 1_100_000, 6_000_000])
def test_no_entry_for_datadog_exceeds_its_limit(character: str, length: int) -> None:
    """Whatever the JSON escapes make of the message; together the parts are the whole."""
    event = make_event(1, message=character * (length // len(character.encode())))
    pieces = Entries("h").make(event, datetime.now(UTC))
    assert all(len(piece.data) <= LIMIT for piece in pieces)
    assert "".join(json.loads(piece.data)["message"] for piece in pieces) == event.message
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]


@settings(max_examples=20)
@given(
    sizes=st.lists(st.integers(0, 700_000), min_size=1, max_size=4),
    character=st.sampled_from(["x", "\x01", "😀"]),
)
def test_no_event_is_too_big_for_either(sizes: list[int], character: str) -> None:
    """Attributes, message and command of any size: every entry fits, and a loss is told."""
    texts = [character * size for size in sizes]
    event = make_event(
        1,
        message=texts[0],
        command=texts[-1],
        attributes={f"a{n}": text for n, text in enumerate(texts)},
    )
    pieces = Entries("h").make(event, datetime.now(UTC))
    assert all(len(piece.data) <= LIMIT for piece in pieces)
    whole = Envelope("h", "s", "t").wrap(event)
    assert len(whole.data) <= 5 * 1024 * 1024
    if whole.lost is None:
        assert json.loads(whole.data)["event"] == event.to_json()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (202, Outcome.ACCEPTED),
        (400, Outcome.POISONED),
        (401, Outcome.REFUSED),
        (403, Outcome.REFUSED),
        (404, Outcome.REFUSED),
        (408, Outcome.BUSY),
        (413, Outcome.TOO_LARGE),
        (429, Outcome.BUSY),
        (500, Outcome.BUSY),
        (503, Outcome.BUSY),
        (504, Outcome.BUSY),
    ],
)
def test_each_documented_status_of_datadog_has_its_meaning(status: int, outcome: Outcome) -> None:
    """The whole table of Datadog's API reference."""
    verdict = classify(status, b'{"errors":[{"title":"words"}]}', 3.0)
    assert verdict.outcome is outcome
    assert outcome is Outcome.ACCEPTED or "words" in verdict.reason
