"""Chunks, halving and dead letters, against a model of a service."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.logs.systems.delivery import Outcome, Piece, Verdict, deliver
from harmony_agent.logs.systems.interface import Limits, Receipt
from tests.unit.logs_systems.events import make_event

LIMITS = Limits(entries=8, size=100)


class Service:
    """Stores entries in order; refuses `bad` ones, tells their number if it `tells`, answers
    too large beyond `largest`, and is busy at the requests numbered in `busy`."""

    def __init__(
        self, bad: set[int], *, tells: bool, largest: int = 8, busy: set[int] | None = None
    ) -> None:
        self.bad = bad
        self.tells = tells
        self.largest = largest
        self.busy = busy or set()
        self.stored: list[int] = []
        self.requests: list[int] = []

    async def post(self, entries: Sequence[bytes]) -> Verdict:
        """One request."""
        self.requests.append(len(entries))
        assert len(entries) <= LIMITS.entries
        assert len(entries) == 1 or sum(len(e) + 1 for e in entries) <= LIMITS.size
        if len(self.requests) - 1 in self.busy:
            return Verdict(Outcome.BUSY, "busy", wait=5.0)
        if len(entries) > self.largest:
            return Verdict(Outcome.TOO_LARGE, "too large")
        numbers = [int(entry.split()[0]) for entry in entries]
        culprit = next((i for i, n in enumerate(numbers) if n in self.bad), None)
        if culprit is None:
            self.stored += numbers
            return Verdict(Outcome.ACCEPTED)
        if not self.tells:
            return Verdict(Outcome.POISONED, "bad")
        self.stored += numbers[:culprit]
        return Verdict(Outcome.POISONED, "bad", taken=culprit, found=True)


def _pieces(count: int, parts: dict[int, int] | None = None) -> list[Piece]:
    found = []
    for number in range(count):
        total = (parts or {}).get(number, 1)
        event = make_event(number)
        for part in range(1, total + 1):
            data = f"{number} {'x' * (number % 40)}".encode()
            found.append(Piece(event, data, last=part == total))
    return found


def _deliver(pieces: list[Piece], service: Service) -> Receipt:
    return asyncio.run(deliver(pieces, LIMITS, service.post))


@given(
    count=st.integers(0, 40),
    bad=st.sets(st.integers(0, 39), max_size=12),
    tells=st.booleans(),
    largest=st.integers(1, 8),
    busy=st.sets(st.integers(0, 12), max_size=3),
)
def test_every_event_is_stored_once_or_a_dead_letter(
    count: int, bad: set[int], tells: bool, largest: int, busy: set[int]
) -> None:
    """Whatever the service refuses and whenever it is busy: with the caller's rule (send again
    what is not acknowledged) nothing is lost, repeated, or out of order."""
    service = Service(bad, tells=tells, largest=largest, busy=busy)
    rest, dead = _pieces(count), list[int]()
    while rest:
        try:
            receipt = _deliver(rest, service)
        except Unavailable:
            continue
        dead += [letter.event.number for letter in receipt.dead]
        rest = rest[receipt.acknowledged :]
    assert service.stored == [n for n in range(count) if n not in bad]
    assert dead == [n for n in range(count) if n in bad]


@given(
    parts=st.dictionaries(st.integers(0, 9), st.integers(2, 12), max_size=4),
    bad=st.sets(st.integers(0, 9), max_size=3),
)
def test_an_event_in_parts_counts_once_and_when_it_is_complete(
    parts: dict[int, int], bad: set[int]
) -> None:
    """However its parts fall into requests; refused parts make one dead letter."""
    service = Service(bad, tells=False)
    receipt = _deliver(_pieces(10, parts), service)
    assert receipt.acknowledged == 10
    assert [letter.event.number for letter in receipt.dead] == sorted(bad)


def test_a_failure_between_the_parts_of_an_event_does_not_acknowledge_it() -> None:
    """Half an event is not an event: it is sent again as a whole."""
    service = Service(set(), tells=False, busy={1})
    receipt = _deliver(_pieces(2, {1: 20}), service)
    assert (receipt.acknowledged, receipt.pause) == (1, 5.0)


def test_halving_takes_a_logarithm_of_requests() -> None:
    """One bad event among many costs few requests, not one for each."""
    service = Service({5}, tells=False)
    _deliver(_pieces(8), service)
    assert len(service.requests) <= 8


def test_a_service_that_refuses_everything_drops_nothing() -> None:
    """Twenty refused and none stored: that is the way's fault, and a person's matter."""
    with pytest.raises(Refused, match="every event"):
        _deliver(_pieces(40), Service(set(range(40)), tells=True))


def test_a_failure_at_once_is_raised() -> None:
    """No progress, no receipt."""
    with pytest.raises(Unavailable) as raised:
        _deliver(_pieces(3), Service(set(), tells=True, busy={0}))
    assert raised.value.retry_after == 5.0


def test_a_shortened_event_is_delivered_and_a_dead_letter() -> None:
    """People see the copy, and the whole one is kept."""
    service = Service(set(), tells=True)
    receipt = _deliver([Piece(make_event(1), b"1", lost="too long")], service)
    assert service.stored == [1]
    assert [(d.event.number, d.reason) for d in receipt.dead] == [(1, "too long")]
