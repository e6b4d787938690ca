"""A world for random histories: true time, nodes with clocks of their own, one repository that
fails and is tampered with. Everything that decides, reads or writes the record is the real thing.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from harmony_agent.core.errors import OutcomeUnknown, Refused, Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.license.classify import Fault, Meaning, Refusal, Unreached, Verified
from harmony_agent.license.clock import Timekeeper
from harmony_agent.license.identity import LicenseIdentity, identify
from harmony_agent.license.keeper import Memory, RecordKeeper
from harmony_agent.license.ledger import Ledger
from harmony_agent.license.machine import (
    History,
    Policy,
    Standing,
    State,
    Step,
    Stop,
    Surroundings,
    forget_license,
    judge,
    tick,
    would_end,
)
from harmony_agent.license.record import EMPTY, Outage, OutageKind, Record
from harmony_agent.repositories.interface import Token
from tests.unit.license.support import MemoryRepository, license_settings

__all__ = [
    "CLEO",
    "CUSTOMER",
    "HOUR",
    "MEANINGS",
    "SKEW",
    "TAMPERINGS",
    "FaultyRepository",
    "Node",
    "World",
    "license_identity",
]

HOUR = 3600.0
GRACE = 96 * HOUR
POLICY = Policy(grace=GRACE, interval=24 * HOUR, retry=900.0)
SKEW = 30.0  # between the nodes' clocks
SLACK = 900.0 + 10 * SKEW  # a first failure may be held back that long before it is judged

CLEO = Unreached(Fault.CLEO, "timed-out", "no answer")
CUSTOMER = Unreached(Fault.CUSTOMER, "proxy", "no way out")
MEANINGS: tuple[Meaning, ...] = (Verified(), Refusal("revoked"), CLEO, CUSTOMER)
FORGER = "nobody"
RUNNING = (State.VALID, State.GRACE)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock is the world's."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        super().__init__()

    def time(self) -> float:
        """True time."""
        return self._now()


class FaultyRepository(MemoryRepository):
    """`mode` up, down, read-only, or deaf: what is written arrives, its answer does not.
    `versions` is what agents wrote."""

    mode = "up"

    def __init__(self) -> None:
        super().__init__()
        self.versions: list[bytes] = []

    def overwrite(self, path: str, data: bytes) -> None:
        """Somebody else writes, whatever agents may."""
        super()._put(path, data)

    async def create(self, path: str, data: bytes) -> Token:
        """Exclusive create."""
        return self._answer(await super().create(path, data))

    async def replace(self, path: str, data: bytes, token: Token) -> Token:
        """Compare and swap."""
        return self._answer(await super().replace(path, data, token))

    def _put(self, path: str, data: bytes) -> Token:
        if self.mode == "read-only":
            raise Refused("no permission to write")
        self.versions.append(data)
        return super()._put(path, data)

    def _answer(self, token: Token) -> Token:
        if self.mode == "deaf":
            raise OutcomeUnknown("no answer")
        return token

    async def _touch(self) -> None:
        await super()._touch()
        if self.mode == "down":
            raise Unavailable("gone")


@cache
def license_identity(number: int) -> LicenseIdentity:
    """One of several licenses; making its key takes time."""
    return identify(license_settings(code=f"code-{number}-of-several"))


@dataclass
class World:
    """True time, and what the nodes share. `opened` is the true time at which each outage began
    to count for somebody; `honest` until somebody tampers with a record."""

    now: float = 1_900_000_000.0
    repository: FaultyRepository = field(default_factory=FaultyRepository)
    opened: dict[str, float] = field(default_factory=dict)
    honest: bool = True

    def __post_init__(self) -> None:
        self.loop = _Loop(lambda: self.now)
        self.workers = Workers("histories", 1)

    def run(self, *work: Coroutine[Any, Any, None]) -> None:
        """Run coroutines side by side, at this instant."""

        async def together() -> None:
            await asyncio.gather(*work)

        self.loop.run_until_complete(together())

    def close(self) -> None:
        """Give back loop and thread."""
        self.workers.close()
        self.loop.close()


def _garbage(_: World) -> bytes | None:
    return b'{"licenses": 5'


def _deleted(_: World) -> bytes | None:
    return None


def _replayed(world: World) -> bytes | None:
    """An earlier version, whose protection is in order."""
    versions = world.repository.versions
    return versions[len(versions) // 2]


def _rejuvenated(world: World) -> bytes | None:
    """Outages that began later, the last success unsaid: by somebody without the key."""
    document = orjson.loads(world.repository.versions[-1])
    for entry in document["licenses"].values():
        record = entry["record"]
        record["success"] = None
        for kind in OutageKind:
            if record.get(kind):
                record[kind]["start"] = world.now - 60.0
    return orjson.dumps(document)


def _forgiven(world: World) -> bytes | None:
    """A success that never was."""
    document = orjson.loads(world.repository.versions[-1])
    for entry in document["licenses"].values():
        success = {"at": world.now, "node": FORGER, "serial": None, "ended": []}
        entry["record"] = {"success": success}
    return orjson.dumps(document)


TAMPERINGS = (_garbage, _deleted, _replayed, _rejuvenated, _forgiven)


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
    """One agent, as its loop drives machine and ledger, and what must never happen to it.

    `ran`: Harmony ran here on this license, or runs since before it came. `in_grace_since`: true
    time since when this Harmony is in grace without a success anywhere, `counted` the outage.
    """

    counted: Outage
    history: History

    def __init__(self, world: World, name: str, skew: float) -> None:
        self.world, self.name, self.license = world, name, 0
        self.clock = NodeClock(world, skew)
        self.memory: Memory | None = None
        self.ran = False
        self.in_grace_since: float | None = None
        self.start()

    def start(self) -> None:
        """A new process on what the old one left."""
        memory = self.memory
        if memory is None:
            self.clock.step = 0.0
        self.time = Timekeeper(self.clock, memory.moment if memory else None)
        self.stopped: Stop | None = None
        self.last: Meaning | None = None
        self.carried: float | None = None
        self.standing = Standing()
        if memory is not None:
            self.standing = Standing(memory.record, memory.counts, memory.meter)
            self.memory = replace(memory, moment=self.time.moment())
        else:
            self.ran, self.in_grace_since = False, None
        self._take_up_ledger()

    def replace_pod(self) -> None:
        """Another machine, without local state."""
        self.memory = None
        self.clock.reboot()
        self.start()

    def rotate(self, number: int) -> None:
        """Another license, under a running Harmony. What was remembered of an earlier one is
        gone: there is one local file."""
        if self.stopped is not None or number == self.license:
            return
        outage = self.standing.outage if self.standing.state is State.GRACE else None
        self.carried = self.world.opened[outage.id] if outage is not None else None
        self.ran = self.standing.state in RUNNING
        self.license, self.memory, self.last = number, None, None
        self.standing = forget_license(self.standing)
        self.in_grace_since = None
        self._take_up_ledger()

    async def attempt(self, meaning: Meaning, *, dated: bool) -> None:
        """One attempt to verify."""
        if self.stopped is not None:
            return
        if dated:
            self.time.hear(self.world.now)
        self.last = meaning
        before, moment = self.standing, self.time.moment()
        new_id = f"outage-{self.name}-{self.world.now}-{len(self.world.opened)}"

        def decide(record: Record, history: History) -> Step:
            self.history = history
            around = Surroundings(self.name, moment, history, new_id)
            return judge(replace(before, record=record), meaning, around, POLICY)

        self._take(await self.ledger.settle(before.record, moment.now, decide))

    def look(self) -> None:
        """Time has passed."""
        if self.stopped is not None:
            return
        held = self.standing.state is State.UNVERIFIED
        ends = would_end(self.standing, self.time.moment(), POLICY)
        if self.last is not None and held:
            self.world.run(self.attempt(self.last, dated=False))
        elif ends:
            self.world.run(self._end())
        else:
            self._take(tick(self.standing, self.time.moment(), POLICY))

    async def _end(self) -> None:
        """The end of the grace: unless another node verified it meanwhile."""
        before, moment = self.standing, self.time.moment()

        def decide(record: Record, _: History) -> Step:
            return tick(replace(before, record=record), moment, POLICY)

        self._take(await self.ledger.settle(before.record, moment.now, decide))
        if self.standing.outage is None:
            await self.attempt(self.last or CLEO, dated=False)

    def _take_up_ledger(self) -> None:
        world, identity = self.world, license_identity(self.license)
        keeper = RecordKeeper(identity, Path("/nowhere"), world.workers)

        async def make() -> None:
            self.ledger = Ledger(keeper, lambda: world.repository, recalled=self.memory is not None)

        world.run(make())

    def _take(self, step: Step) -> None:
        self.standing, effects = step
        for outage in step[0].record.outages:
            mine = outage.kind is OutageKind.REFUSED and outage.node == self.name
            since = self.carried if mine and self.carried is not None else self.world.now
            self.world.opened.setdefault(outage.id, since)
        success = self.standing.record.success
        assert success is None or success.node != FORGER, "a forged success was believed"
        if self.standing.state is State.UNVERIFIED:
            return
        self.carried = None
        self.memory = Memory(
            self.standing.record, self.time.moment(), self.standing.counts, self.standing.meter
        )
        for effect in effects:
            if isinstance(effect, Stop):
                self.stopped = effect
                self._check_stop()
        if self.standing.state is State.GRACE and self.standing.outage is not None:
            self._check_grace(self.standing.outage)
        elif self.stopped is None:
            self.in_grace_since = None
        if self.standing.state in RUNNING:
            self.ran = True

    def _served(self) -> float:
        outage = self.standing.outage
        assert outage is not None
        return self.world.now - self.world.opened[outage.id]

    def _check_stop(self) -> None:
        if self.standing.state is State.REFUSED:
            assert not self.ran, "a Harmony that ran was stopped without notice"
            assert self.history is History.KNOWN, "refused by a node that knows no past"
            readable = self.world.repository.mode == "up"
            if self.world.honest and readable and self.standing.record != EMPTY:
                assert self.standing.record.success is None
            return
        assert self._served() >= GRACE - SLACK, f"stopped {GRACE - self._served()} s early"

    def _check_grace(self, outage: Outage) -> None:
        if self.world.honest:
            assert self._served() <= GRACE + SLACK, f"runs {self._served() - GRACE} s too long"
        if self.in_grace_since is None or self._was_ended(self.counted):
            self.in_grace_since = self.world.now
        self.counted = outage
        own = self.world.now - self.in_grace_since
        assert own <= GRACE + SLACK, f"runs {own - GRACE} s too long by its own count"

    def _was_ended(self, outage: Outage) -> bool:
        success = self.standing.record.success
        return success is not None and (outage.id in success.ended or outage.start < success.at)
