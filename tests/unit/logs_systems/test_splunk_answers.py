"""What the HTTP Event Collector's answers mean."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.splunk_hec import CODES
from harmony_agent.logs.systems.delivery import Outcome
from harmony_agent.logs.systems.splunk_hec import Answer, base_url, classify, read_answer

OUTCOMES = {
    Outcome.ACCEPTED: {0, 17, 24, 25},
    Outcome.BUSY: {8, 9, 11, 18, 19, 20, 23, 26, 27},
    Outcome.POISONED: {6, 12, 13, 15},
    Outcome.REFUSED: {1, 2, 3, 4, 5, 7, 10, 14, 16, 21, 22},
}


@pytest.mark.parametrize("code", CODES)
def test_each_documented_code_has_its_meaning(code: int) -> None:
    """The whole table of Splunk's documentation, with its HTTP statuses."""
    status, text = CODES[code]
    outcome = classify(status, Answer(code, text), 10).outcome
    assert code in OUTCOMES[outcome]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.REFUSED),
        (301, Outcome.REFUSED),
        (400, Outcome.BUSY),
        (401, Outcome.REFUSED),
        (403, Outcome.REFUSED),
        (404, Outcome.BUSY),
        (408, Outcome.BUSY),
        (413, Outcome.TOO_LARGE),
        (415, Outcome.REFUSED),
        (429, Outcome.BUSY),
        (500, Outcome.BUSY),
        (503, Outcome.BUSY),
    ],
)
def test_a_page_in_place_of_json_is_judged_by_its_status(status: int, outcome: Outcome) -> None:
    """Never as a success and never as poison: what can't be read loses no event."""
    assert classify(status, read_answer(b"<html>"), 3).outcome is outcome


def test_a_number_splits_the_batch() -> None:
    """Before it all is taken; for poison it is the culprit itself, for a busy server it is not."""
    poison = classify(400, Answer(6, "Invalid data format", invalid_event=2), 5)
    assert (poison.outcome, poison.taken, poison.found) == (Outcome.POISONED, 2, True)
    busy = classify(503, Answer(9, "Server is busy", invalid_event=2), 5, 7.0)
    assert (busy.outcome, busy.taken, busy.found, busy.wait) == (Outcome.BUSY, 2, False, 7.0)


@given(number=st.one_of(st.none(), st.integers(max_value=-1), st.integers(min_value=5)))
def test_a_number_that_is_no_event_s_is_not_believed(number: int | None) -> None:
    """Else events would count as delivered that never were."""
    verdict = classify(400, Answer(6, "Invalid data format", invalid_event=number), 5)
    assert (verdict.taken, verdict.found) == (0, False)


@given(
    status=st.sampled_from([200, 302, 400, 401, 403, 404, 413, 429, 500, 503]),
    code=st.one_of(st.none(), st.integers(-5, 60)),
    number=st.one_of(st.none(), st.integers(-5, 15)),
)
def test_only_a_success_of_splunk_itself_is_taken_for_one(
    status: int, code: int | None, number: int | None
) -> None:
    """Whatever an answer holds: without HTTP 200 and a good code nothing counts as delivered,
    but for the events before the bad one."""
    verdict = classify(status, Answer(code, "words", number), 10)
    if verdict.outcome is Outcome.ACCEPTED:
        assert status == 200
        assert code in OUTCOMES[Outcome.ACCEPTED]
    assert 0 <= verdict.taken < 10
    assert verdict.reason or verdict.outcome is Outcome.ACCEPTED


@given(st.one_of(st.binary(), st.from_type(object).map(repr).map(str.encode)))
def test_any_body_can_be_read(body: bytes) -> None:
    """Whatever a proxy says is an answer without a code, or one of the right types."""
    answer = read_answer(body)
    assert answer.code is None or type(answer.code) is int


@pytest.mark.parametrize("odd", [True, "6", 6.5, None, [6]])
def test_a_code_of_another_type_is_no_code(odd: object) -> None:
    """Nothing is guessed from values that Splunk does not send."""
    assert read_answer(json.dumps({"code": odd, "text": 5}).encode()) == Answer()


@pytest.mark.parametrize(
    "url",
    [
        "https://h:8088",
        "https://h:8088/",
        "https://h:8088/services/collector",
        "https://h:8088/services/collector/event",
        "https://h:8088/services/collector/raw?channel=x",
        "https://h:8088/services/collector/event/1.0#x",
    ],
)
def test_the_url_is_reduced_to_its_base(url: str) -> None:
    """Whatever part of HEC's own path was pasted."""
    assert base_url(url) == "https://h:8088"


def test_the_prefix_of_a_reverse_proxy_is_kept() -> None:
    """HEC may live below another path."""
    assert base_url("https://h/splunk/services/collector") == "https://h/splunk"
