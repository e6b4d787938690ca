"""The state machine under random histories: several nodes, restarts, new pods, clock steps, outages
of Cleo and of the repository, refusals."""

from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from harmony_agent.license.classify import Fault, Meaning, Refusal, Unreached, Verified
from harmony_agent.license.clock import Timekeeper
from harmony_agent.license.keeper import Memory
from harmony_agent.license.machine import (
    History,
    Policy,
    Standing,
    State,
    Step,
    Stop,
    Surroundings,
    judge,
    tick,
)
from harmony_agent.license.record import EMPTY, Record, merge, plausible

HOUR = 3600.0
POLICY = Policy(grace=96 * HOUR, interval=24 * HOUR, retry=900.0)
SKEW = 30.0  # between the nodes' clocks
SLACK = 900.0 + 10 * SKEW  # a first failure may be held back that long before it is judged

CLEO = Unreached(Fault.CLEO, "timed-out", "no answer")
CUSTOMER = Unreached(Fault.CUSTOMER, "proxy", "no way out")
MEANINGS: tuple[Meaning, ...] = (Verified(), Refusal("revoked"), CLEO, CUSTOMER)


@dataclass
class World:
    """True time, and what the nodes share."""

    now: float = 1_900_000_000.0
    repository: Record = EMPTY
    reachable: bool = True
    opened: dict[str, float] = field(default_factory=dict)  # outage -> true time


class NodeClock:
    """One node's clocks: a small skew, steps of the wall clock, boots."""

    def __init__(self, world: World, skew: float) -> None:
        self.world, self.skew, self.step, self.boots = world, skew, 0.0, 0
        self._booted = world.now - 100.0

    def wall(self) -> float:
        """The wall clock."""
        return self.world.now + self.skew + self.step

    def boottime(self) -> float:
        """Seconds since boot."""
        return self.world.now - self._booted

    def boot_id(self) -> str:
        """Another one for each boot."""
        return f"boot-{id(self)}-{self.boots}"

    def reboot(self) -> None:
        """A boot sets the wall clock right."""
        self.boots, self.step, self._booted = self.boots + 1, 0.0, self.world.now


class Node:
    """One agent, as its loop would drive the machine."""

    def __init__(self, world: World, name: str, skew: float) -> None:
        self.world, self.name = world, name
        self.clock = NodeClock(world, skew)
        self.memory: Memory | None = None
        self.ran = False
        self.start()

    def start(self) -> None:
        """A new process on what the old one left."""
        memory = self.memory
        if memory is None:
            self.clock.step = 0.0
        self.time = Timekeeper(self.clock, memory.moment if memory else None)
        self.since = self.world.now
        self.knows = memory is not None
        self.stopped: Stop | None = None
        self.held: Meaning | None = None
        self.standing = Standing()
        if memory is not None:
            self.standing = Standing(memory.record, memory.counts, memory.meter)
            self.memory = replace(memory, moment=self.time.moment())

    def replace_pod(self) -> None:
        """Another machine, without local state."""
        self.memory, self.ran = None, False
        self.clock.reboot()
        self.start()

    def attempt(self, meaning: Meaning, *, dated: bool) -> None:
        """One attempt to verify."""
        if self.stopped is not None:
            return
        if dated:
            self.time.hear(self.world.now)
        self.held = meaning
        record = self.standing.record
        if self.world.reachable:
            self.knows = True
            record = merge(record, plausible(self.world.repository, self.time.moment().now))
        around = Surroundings(
            self.name, self.time.moment(), self._history(), f"outage-{len(self.world.opened)}"
        )
        before = self.standing
        step = judge(replace(before, record=record), meaning, around, POLICY)
        for outage in step[0].record.outages:
            self.world.opened.setdefault(outage.id, self.world.now)
        if self.world.reachable:
            self.world.repository = step[0].record
        self._take(step)

    def look(self) -> None:
        """Time has passed."""
        if self.stopped is not None:
            return
        if self.standing.state is State.UNVERIFIED and self.held is not None:
            self.attempt(self.held, dated=False)
        else:
            self._take(tick(self.standing, self.time.moment(), POLICY))

    def _history(self) -> History:
        if self.knows:
            return History.KNOWN
        return History.AWAITED if self.world.now - self.since < 900 else History.UNKNOWN

    def _take(self, step: Step) -> None:
        self.standing, effects = step
        for effect in effects:
            if isinstance(effect, Stop):
                self.stopped = effect
                self._check_stop()
        if self.standing.state is not State.UNVERIFIED:
            self.memory = Memory(
                self.standing.record, self.time.moment(), self.standing.counts, self.standing.meter
            )
        if self.standing.state in (State.VALID, State.GRACE):
            self.ran = True
        self._check_running()

    def _check_stop(self) -> None:
        if self.standing.state is State.REFUSED:
            assert not self.ran, "a Harmony that ran was stopped without notice"
            return
        outage = self.standing.outage
        assert outage is not None
        served = self.world.now - self.world.opened[outage.id]
        assert served >= POLICY.grace - SLACK, f"stopped {POLICY.grace - served} s early"

    def _check_running(self) -> None:
        if self.standing.state is not State.GRACE:
            return
        outage = self.standing.outage
        assert outage is not None
        served = self.world.now - self.world.opened[outage.id]
        assert served <= POLICY.grace + SLACK, f"runs {served - POLICY.grace} s too long"


NODES = st.integers(0, 2)


class Histories(RuleBasedStateMachine):
    """Whatever happens: four days, no more and no less."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.nodes = [Node(self.world, f"node-{i}", (i - 1) * SKEW) for i in range(3)]

    @rule(hours=st.floats(0.01, 30))
    def time_passes(self, hours: float) -> None:
        """In steps, as the loop looks at least every few minutes."""
        end = self.world.now + hours * HOUR
        while self.world.now < end:
            self.world.now = min(end, self.world.now + 300)
            for node in self.nodes:
                node.look()

    @rule(index=NODES, meaning=st.sampled_from(MEANINGS), dated=st.booleans())
    def attempt(self, index: int, meaning: Meaning, dated: bool) -> None:
        """One node tries."""
        self.nodes[index].attempt(meaning, dated=dated)

    @rule(meaning=st.sampled_from([CLEO, Refusal("expired")]))
    def all_attempt(self, meaning: Meaning) -> None:
        """All nodes fail alike."""
        for node in self.nodes:
            node.attempt(meaning, dated=False)

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

    @rule()
    def repository_goes_or_comes(self) -> None:
        """The repository goes away, or comes back."""
        self.world.reachable = not self.world.reachable

    @rule(index=NODES)
    def success_reaches_everybody(self, index: int) -> None:
        """With the repository there, a success on one node ends the grace of all that look."""
        if not self.world.reachable or self.nodes[index].stopped is not None:
            return
        self.world.now += 3 * SKEW  # outages that never met count as ended by their times alone
        self.nodes[index].attempt(Verified(), dated=True)
        for node in self.nodes:
            if node.stopped is None:
                node.attempt(CLEO, dated=False)
                assert node.standing.state is State.VALID


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
