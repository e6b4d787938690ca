"""The lease's decisions: never two writers at a time, whatever the order of events."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harmony_agent.repositories.interface import Token
from harmony_agent.repositories.lease_machine import (
    MARGIN,
    Look,
    Phase,
    Record,
    Seen,
    State,
    Write,
)

TTL = 30.0


@dataclass
class Store:
    """The lease object: compare-and-swap on a version number."""

    record: Record | None = None
    version: int = 0

    def apply(self, write: Write) -> Token | None:
        """The new token, or None if the precondition fails."""
        present = None if self.record is None else Token(str(self.version))
        if write.token != present:
            return None
        self.version += 1
        self.record = write.record
        return Token(str(self.version))


@dataclass
class Node:
    """A contender with a clock of its own."""

    state: State
    rate: float
    offset: float
    delayed: list[Write] = field(default_factory=list)

    def now(self, real: float) -> float:
        """What this node's clock shows."""
        return self.offset + real * self.rate


class Contenders(RuleBasedStateMachine):
    """Two or three nodes, clocks off by up to 30 %, lost requests, lost and late answers."""

    @initialize(rates=st.lists(st.floats(0.7, 1.3), min_size=2, max_size=3))
    def start(self, rates: list[float]) -> None:
        """Nodes with clocks and identities of their own."""
        self.store = Store()
        self.real = 0.0
        self.nonces = 0
        self.nodes = [
            Node(State(f"id-{i}", f"pod-{i}", TTL), rate, 1000.0 * i)
            for i, rate in enumerate(rates)
        ]

    def _nonce(self) -> str:
        self.nonces += 1
        return str(self.nonces)

    def _node(self, number: int) -> Node:
        return self.nodes[number % len(self.nodes)]

    def _look(self, node: Node) -> None:
        token = Token(str(self.store.version)) if self.store.record else None
        node.state = node.state.looked(self.store.record, token, node.now(self.real))

    def _action(self, node: Node) -> Write | None:
        action = node.state.action(node.now(self.real), self._nonce())
        if isinstance(action, Look):
            self._look(node)
            action = node.state.action(node.now(self.real), self._nonce())
        if isinstance(action, Look):
            return None
        node.state = node.state.sending(action, node.now(self.real))
        return action

    @rule(number=st.integers(0, 2))
    def step(self, number: int) -> None:
        """A step that goes well, or is refused."""
        node = self._node(number)
        if write := self._action(node):
            token = self.store.apply(write)
            node.state = node.state.written(write, token) if token else node.state.unclear()

    @rule(number=st.integers(0, 2), applied=st.booleans())
    def step_without_answer(self, number: int, applied: bool) -> None:
        """The request or its answer is lost."""
        node = self._node(number)
        if write := self._action(node):
            if applied:
                self.store.apply(write)
            node.state = node.state.unclear()

    @rule(number=st.integers(0, 2))
    def step_that_is_delayed(self, number: int) -> None:
        """The node gives up on a request that is still on its way."""
        node = self._node(number)
        if write := self._action(node):
            node.delayed.append(write)
            node.state = node.state.unclear()

    @rule(number=st.integers(0, 2))
    def arrival(self, number: int) -> None:
        """A delayed request reaches the store."""
        node = self._node(number)
        if node.delayed:
            self.store.apply(node.delayed.pop(0))

    @rule(number=st.integers(0, 2))
    def release(self, number: int) -> None:
        """An owner ends, and starts again without memory."""
        node = self._node(number)
        if write := node.state.release(self._nonce()):
            node.state = State(node.state.identity, node.state.holder, TTL)
            self.store.apply(write)

    @rule()
    def somebody_deletes_the_lease(self) -> None:
        """Only while nobody may write: deleting a living lease is sabotage."""
        if not any(node.state.may_write(node.now(self.real)) for node in self.nodes):
            self.store.record = None

    @rule(seconds=st.floats(0.1, 70))
    def time_passes(self, seconds: float) -> None:
        """Nobody does anything for a while: frozen nodes, or just time."""
        self.real += seconds

    @invariant()
    def at_most_one_may_write(self) -> None:
        """The whole point."""
        if hasattr(self, "nodes"):
            writers = [n.state.holder for n in self.nodes if n.state.may_write(n.now(self.real))]
            assert len(writers) <= 1


TestContenders = Contenders.TestCase
TestContenders.settings = settings(max_examples=150, stateful_step_count=40)


def record(owner: str | None = "other", nonce: str = "n", epoch: int = 3) -> Record:
    """A lease of somebody."""
    return Record(owner, "pod-x", epoch, nonce, TTL)


def fresh() -> State:
    """A node that knows nothing."""
    return State("me", "pod-me", TTL)


def owning(nonce: str = "mine", sent: float = 0.0) -> State:
    """A node that took a free lease at `sent`."""
    state = fresh().looked(None, None, sent)
    write = state.action(sent, nonce)
    assert isinstance(write, Write)
    return state.sending(write, sent).written(write, Token("1"))


def test_a_free_lease_is_taken_at_once_with_epoch_one() -> None:
    """Nobody was here before."""
    action = fresh().looked(None, None, 0).action(0, "n1")
    assert isinstance(action, Write)
    assert (action.token, action.record.epoch, action.record.owner) == (None, 1, "me")


def test_ones_own_earlier_lease_is_taken_over_at_once() -> None:
    """A restarted agent with its state directory need not wait; the epoch grows."""
    action = fresh().looked(record("me"), Token("7"), 0).action(0, "n1")
    assert isinstance(action, Write)
    assert (action.token, action.record.epoch) == ("7", 4)


def test_a_lease_that_was_given_back_is_taken_at_once() -> None:
    """A clean end lets the successor start."""
    action = fresh().looked(record(None), Token("7"), 0).action(0, "n1")
    assert isinstance(action, Write)
    assert action.record.epoch == 4


def test_a_foreign_lease_is_taken_over_after_twice_its_time_without_a_change() -> None:
    """Not earlier; and a renewal starts the wait anew."""
    state = fresh().looked(record(), Token("7"), 100)
    assert state.phase is Phase.WAITING
    assert isinstance(state.action(159.9, "n"), Look)
    assert isinstance(state.looked(record(), Token("7"), 159).action(160, "n"), Write)
    renewed = state.looked(record(nonce="n2"), Token("8"), 159)
    assert isinstance(renewed.action(160, "n"), Look)
    assert isinstance(renewed.action(219, "n"), Write)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\xff{",
        b"[1]",
        b'"text"',
        b'{"owner": "a"}',
        b'{"owner":"a","holder":"b","epoch":null,"nonce":"c","ttl":30}',
        b'{"owner":"a","holder":"b","epoch":1e400,"nonce":"c","ttl":30}',
        b'{"owner":"a","holder":"b","epoch":1,"nonce":"c","ttl":[]}',
    ],
)
def test_an_unreadable_lease_is_treated_as_somebody_elses(stored: bytes) -> None:
    """Rubbish, or a file that was cut, is not overwritten at once."""
    state = fresh().looked(Record.from_bytes(stored), Token("7"), 0)
    assert isinstance(state.action(59, "n"), Look)
    assert isinstance(state.action(60, "n"), Write)


def test_who_holds_it_for_longer_is_waited_for_longer() -> None:
    """A node that adopts another's parked events takes its lease for a minute."""
    adopted = Record("adopter", "pod of adopter", 3, "n", 2 * TTL)
    state = fresh().looked(adopted, Token("7"), 0)
    assert state.patience == 4 * TTL
    assert isinstance(state.action(4 * TTL - 1, "n"), Look)
    assert isinstance(state.action(4 * TTL, "n"), Write)


def test_writing_stops_before_the_lease_can_be_taken_over() -> None:
    """ttl - 5 s after the renewal that succeeded was sent, whenever its answer came."""
    state = owning(sent=10.0)
    assert state.may_write(10.0 + TTL - MARGIN - 0.01)
    assert not state.may_write(10.0 + TTL - MARGIN)


def test_a_renewal_whose_answer_was_lost_is_recognized_by_its_nonce() -> None:
    """The owner stays the owner, from the moment the renewal was sent."""
    state = owning()
    write = state.action(10, "second")
    assert isinstance(write, Write)
    state = state.sending(write, 10).unclear()
    state = state.looked(write.record, Token("2"), 21)
    assert state.phase is Phase.OWNED
    assert state.may_write(34.9)
    assert not state.may_write(35.0)


def test_a_foreign_nonce_fences_the_owner() -> None:
    """It stops at once, and its own identity in the lease does not let it back in at once."""
    state = owning().unclear().looked(record("me", "stranger"), Token("9"), 12)
    assert state.phase is Phase.FENCED
    assert not state.may_write(12)
    assert isinstance(state.action(13, "n"), Look)
    assert isinstance(state.action(12 + 2 * TTL, "n"), Write)


def test_a_deleted_lease_is_made_anew_with_a_higher_epoch() -> None:
    """The epoch never falls while anybody remembers it."""
    state = owning().unclear().looked(None, None, 5)
    action = state.action(5, "n")
    assert isinstance(action, Write)
    assert (action.token, action.record.epoch) == (None, 2)


def test_a_record_survives_its_json() -> None:
    """What is written is read back, a released one as well."""
    for original in (record(), record(None)):
        assert Record.from_bytes(original.to_bytes()) == original


def test_only_an_owner_has_something_to_give_back() -> None:
    """release keeps the epoch and names nobody."""
    assert fresh().release("n") is None
    write = owning().release("n")
    assert write is not None
    assert (write.record.owner, write.record.epoch) == (None, 1)
    assert isinstance(owning().seen, Seen)


def test_our_version_under_another_token_is_renewed_by_that_token() -> None:
    """One file has another token on another way to it: the lease is ours all the same, and is not
    renewed by the old token for ever, in vain."""
    state = State("me", "pod", TTL).looked(None, None, 0)
    write = state.action(0, "first")
    assert isinstance(write, Write)
    state = state.sending(write, 0).written(write, Token("one way")).unclear()
    state = state.looked(write.record, Token("another way"), 10)
    renewal = state.action(10, "second")
    assert isinstance(renewal, Write)
    assert renewal.token == Token("another way")
    assert state.may_write(10)
