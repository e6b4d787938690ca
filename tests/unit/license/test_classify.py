"""The table of the design: what came back, and what it means."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmony_agent.license.classify import (
    NOBODY,
    Answer,
    Fault,
    NoAnswer,
    Question,
    Refusal,
    Trouble,
    Unreached,
    Verified,
    Witness,
    classify,
    needs_witness,
)

NOW = 1_900_000_000.0
QUESTION = Question("HC1234-ZZ5678", "request-1")
BODY: dict[str, Any] = {
    "status": "valid",
    "serial": "HC1234-ZZ5678",
    "expires": "2030-12-31",
    "message": None,
    "requestId": "request-1",
}
SEES_ALL = Witness(answers=True, date=NOW + 60)


def answer(http: int = 200, /, **changes: Any) -> Answer:
    """An answer that is valid but for `changes`."""
    return Answer(http, json.dumps({**BODY, **changes}).encode())


def fault_of(meaning: object) -> Fault:
    """Whose fault it is that there is no verdict."""
    assert isinstance(meaning, Unreached)
    return meaning.fault


def test_a_valid_answer_verifies() -> None:
    """Well formed, request and serial equal."""
    meaning = classify(QUESTION, answer(), NOBODY, NOW)
    assert meaning == Verified("HC1234-ZZ5678", "2030-12-31", None)


@pytest.mark.parametrize("word", ["invalid", "expired", "revoked", "suspended"])
def test_exactly_four_words_refuse(word: str) -> None:
    """A refusal carries the service's word and message."""
    meaning = classify(QUESTION, answer(status=word, message="ask sales"), NOBODY, NOW)
    assert meaning == Refusal(word, "ask sales")
    assert word in Refusal(word, "ask sales").cause


@pytest.mark.parametrize(
    "happening",
    [
        answer(status="Valid"),
        answer(status="VALID "),
        answer(status="refused"),
        answer(status=""),
        answer(status=None),
        answer(status=["valid"]),
        answer(requestId="request-2"),
        answer(requestId=None),
        answer(serial="HC1234-ZZ9999"),
        answer(serial=None),
        answer(serial=5),
        answer(message={"a": 1}),
        Answer(200, b"[]"),
        Answer(200, b"null"),
        Answer(200, b""),
        Answer(200, None),
        Answer(200, b"<html>"),
        Answer(200, b"\xff\xfe"),
        Answer(200, b"[" * 100_000),
        Answer(201, json.dumps(BODY).encode()),
        Answer(204),
        Answer(302),
        Answer(307),
        Answer(401),
        Answer(404),
        Answer(407),
        Answer(429),
        Answer(500),
        Answer(503),
    ],
)
def test_anything_else_over_verified_tls_is_cleos_side(happening: Answer) -> None:
    """Other words, other requests, malformed, 3xx, 4xx, 5xx."""
    assert not needs_witness(happening)
    assert fault_of(classify(QUESTION, happening, NOBODY, NOW)) is Fault.CLEO


WITH_WITNESS = [
    Trouble.UNRESOLVABLE,
    Trouble.REFUSED,
    Trouble.RESET,
    Trouble.TIMED_OUT,
    Trouble.NO_ROUTE,
    Trouble.CERTIFICATE_DATE,
    Trouble.CERTIFICATE_NAME,
]


@pytest.mark.parametrize("trouble", WITH_WITNESS)
def test_silence_is_cleos_side_only_if_the_ticket_service_answers(trouble: Trouble) -> None:
    """The second witness decides."""
    assert needs_witness(NoAnswer(trouble))
    assert fault_of(classify(QUESTION, NoAnswer(trouble), SEES_ALL, NOW)) is Fault.CLEO
    assert fault_of(classify(QUESTION, NoAnswer(trouble), NOBODY, NOW)) is Fault.CUSTOMER


@pytest.mark.parametrize("trouble", [Trouble.PROXY, Trouble.CERTIFICATE_UNKNOWN])
def test_proxy_and_interception_are_the_customers_network(trouble: Trouble) -> None:
    """Whatever the ticket service says."""
    assert not needs_witness(NoAnswer(trouble))
    assert fault_of(classify(QUESTION, NoAnswer(trouble), SEES_ALL, NOW)) is Fault.CUSTOMER


@pytest.mark.parametrize("trouble", [Trouble.CERTIFICATE_DATE, Trouble.CERTIFICATE_NAME])
@pytest.mark.parametrize(
    ("date", "fault"),
    [
        (NOW - 3600, Fault.CLEO),
        (NOW + 3600, Fault.CLEO),
        (NOW - 3601, Fault.CUSTOMER),
        (NOW + 3601, Fault.CUSTOMER),
        (None, Fault.CUSTOMER),
    ],
)
def test_a_bad_certificate_is_cleos_only_if_our_clock_is_confirmed(
    trouble: Trouble, date: float | None, fault: Fault
) -> None:
    """A wrong clock of ours makes every certificate look expired."""
    witness = Witness(answers=True, date=date)
    assert fault_of(classify(QUESTION, NoAnswer(trouble), witness, NOW)) is fault


def test_without_a_serial_the_answered_one_is_taken_if_it_looks_like_one() -> None:
    """What is no serial is not taken over into logs and mails."""
    asked = Question(None, "request-1")
    assert classify(asked, answer(), NOBODY, NOW) == Verified("HC1234-ZZ5678", "2030-12-31")
    assert classify(asked, answer(serial="no\nserial"), NOBODY, NOW) == Verified(None, "2030-12-31")
    assert classify(asked, answer(serial=None), NOBODY, NOW) == Verified(None, "2030-12-31")


def test_what_the_service_says_becomes_one_sane_line() -> None:
    """Line breaks and control characters don't reach logs and mail headers."""
    meaning = classify(
        QUESTION, answer(status="revoked", message="a\r\nBcc: x\x00" * 99), NOBODY, 0
    )
    assert isinstance(meaning, Refusal)
    assert meaning.message is not None
    assert meaning.message.isprintable()
    assert len(meaning.message) <= 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=200)
    | st.dictionaries(
        st.sampled_from(sorted(BODY)), JSON | st.sampled_from(["valid", "request-1"])
    ).map(lambda d: json.dumps(d).encode())
)
def test_no_body_makes_it_fail(body: bytes) -> None:
    """Whatever is sent, there is a meaning; and none but the whole answer verifies."""
    meaning = classify(QUESTION, Answer(200, body), NOBODY, NOW)
    if isinstance(meaning, Verified):
        sent = json.loads(body)
        assert (sent["status"], sent["serial"], sent["requestId"]) == (
            "valid",
            "HC1234-ZZ5678",
            "request-1",
        )
