"""Random histories: several nodes, restarts, new pods, clock steps, outages of Cleo, refusals,
licenses that are replaced, repositories that fail, records that are tampered with."""

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from harmony_agent.license.classify import Meaning, Refusal, Verified
from harmony_agent.license.keeper import RECORD_PATH
from harmony_agent.license.machine import State
from tests.unit.license.histories import (
    CLEO,
    CUSTOMER,
    HOUR,
    MEANINGS,
    SKEW,
    TAMPERINGS,
    Node,
    World,
)

NODES = st.integers(0, 2)


class Histories(RuleBasedStateMachine):
    """Whatever happens: four days, no more and no less, and never without them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.nodes = [Node(self.world, f"node-{i}", (i - 1) * SKEW) for i in range(3)]

    def teardown(self) -> None:
        """Give back what the world holds."""
        self.world.close()

    @rule(hours=st.floats(0.01, 30))
    def time_passes(self, hours: float) -> None:
        """Nobody tries."""
        self._pass(hours)

    def _pass(self, hours: float) -> None:
        """In steps, as the loop looks at least every few minutes."""
        end = self.world.now + hours * HOUR
        while self.world.now < end:
            self.world.now = min(end, self.world.now + 300)
            for node in self.nodes:
                node.look()

    @rule(
        days=st.integers(1, 5),
        meanings=st.tuples(*[st.sampled_from([CLEO, CUSTOMER, Refusal("revoked"), None])] * 3),
    )
    def days_pass(self, days: int, meanings: tuple[Meaning | None, ...]) -> None:
        """Nodes try again and again, each with the same luck; None does not try."""
        for _ in range(days * 4):
            for node, meaning in zip(self.nodes, meanings, strict=True):
                if meaning is not None:
                    self.world.run(node.attempt(meaning, dated=False))
            self._pass(6.0)

    @rule(index=NODES, meaning=st.sampled_from(MEANINGS), dated=st.booleans())
    def attempt(self, index: int, meaning: Meaning, dated: bool) -> None:
        """One node tries."""
        self.world.run(self.nodes[index].attempt(meaning, dated=dated))

    @rule(meaning=st.sampled_from([CLEO, Refusal("expired")]))
    def all_attempt(self, meaning: Meaning) -> None:
        """All nodes fail alike, at the same instant."""
        self.world.run(*(node.attempt(meaning, dated=False) for node in self.nodes))

    @rule(meanings=st.tuples(*[st.sampled_from(MEANINGS)] * 3))
    def attempts_race(self, meanings: tuple[Meaning, ...]) -> None:
        """All nodes try at the same instant, with different luck."""
        pairs = zip(self.nodes, meanings, strict=True)
        self.world.run(*(node.attempt(meaning, dated=False) for node, meaning in pairs))

    @rule(index=NODES)
    def restart(self, index: int) -> None:
        """The agent's container restarts."""
        self.nodes[index].start()

    @rule(index=NODES)
    def reboot(self, index: int) -> None:
        """The machine restarts; its disk stays."""
        self.nodes[index].clock.reboot()
        self.nodes[index].start()

    @rule(index=NODES)
    def replace_pod(self, index: int) -> None:
        """A new pod without local state."""
        self.nodes[index].replace_pod()

    @rule(index=NODES, days=st.floats(-20, 20))
    def step_wall_clock(self, index: int, days: float) -> None:
        """Somebody sets a wall clock."""
        self.nodes[index].clock.step = days * 24 * HOUR

    @rule(mode=st.sampled_from(["up", "up", "down", "read-only", "deaf"]))
    def repository_changes(self, mode: str) -> None:
        """It goes away, comes back, takes no writes, or takes them without an answer."""
        self.world.repository.mode = mode

    @rule(index=NODES, number=st.integers(0, 1))
    def rotate(self, index: int, number: int) -> None:
        """One node gets another license; the others may follow, or not."""
        self.nodes[index].rotate(number)

    @precondition(lambda self: RECORD_PATH in self.world.repository.files)
    @rule(change=st.sampled_from(TAMPERINGS))
    def tamper(self, change: Callable[[World], bytes | None]) -> None:
        """Somebody changes the shared record by hand."""
        self.world.honest = False
        data = change(self.world)
        if data is None:
            self.world.repository.files.pop(RECORD_PATH)
        else:
            self.world.repository.overwrite(RECORD_PATH, data)

    @precondition(lambda self: self.world.repository.mode == "up" and self.world.honest)
    @rule(index=NODES)
    def success_reaches_everybody(self, index: int) -> None:
        """With the repository there, a success on one node ends the grace of all of the same
        license that look."""
        winner = self.nodes[index]
        if winner.stopped is not None:
            return
        self.world.now += 3 * SKEW  # outages that never met count as ended by their times alone
        self.world.run(winner.attempt(Verified(), dated=True))
        for node in self.nodes:
            if node.stopped is None and node.license == winner.license:
                self.world.run(node.attempt(CLEO, dated=False))
                assert node.standing.state is State.VALID


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow],
)
