"""The lease on this node's runtime folder, kept for as long as the agent runs."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Protocol

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import Absent, AgentError, PreconditionFailed
from harmony_agent.repositories.interface import Content, Repository, Token
from harmony_agent.repositories.layout import LEASE
from harmony_agent.repositories.lease_machine import (
    Look,
    Phase,
    Record,
    State,
    Write,
)
from harmony_agent.repositories.metrics import LEASE_HELD

__all__ = ["Lease", "Reporter", "boot_time"]

log = logging.getLogger(__name__)

_CONDITION: Final = "lease"
_TURN: Final = 60.0  # seconds; how long a node that comes back waits for its folder at most
_LOOP_LIMIT: Final = 120.0  # seconds; a step takes at most a third of the time to live


class Reporter(Protocol):
    """What the lease tells others: the methods of lifecycle.health.Health it uses."""

    def ok(self, name: str, message: str = "") -> None:
        """`name` works."""

    def trouble(self, name: str, message: str) -> None:
        """`name` is in trouble that is being dealt with."""

    def fail(self, name: str, message: str) -> None:
        """`name` takes the agent out of readiness."""

    def register_loop(self, name: str, limit: float) -> None:
        """Watch a loop."""

    def beat(self, name: str) -> None:
        """The loop has turned."""


def boot_time() -> float:
    """Seconds since boot, sleep included: a lease runs on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """Takes, renews, watches and gives back the lease in `repository` (a runtime one).

    `identity` is the state directory's UUID (see own_identity), `holder` names this pod for
    people, `ttl` is in seconds. While `trusting` says no the repository may ignore a write's
    condition: then the lease is read before every write, so that another owner is noticed at the
    next renewal.
    """

    def __init__(
        self,
        repository: Repository,
        identity: str,
        holder: str,
        *,
        ttl: float = 30.0,
        trusting: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._repository = repository
        self._trusting = trusting
        self._clock = clock
        self._state = State(identity, holder, ttl)
        self._error: str | None = None
        self._owned = asyncio.Event()
        self._turn = asyncio.Lock()  # one step at a time, and no exchange during one
        self._has_moved = asyncio.Event()
        self._backoff = Backoff(first=1.0, ceiling=ttl / 6)

    @classmethod
    def abandoned(
        cls, repository: Repository, identity: str, holder: str, found: Content | None, since: float
    ) -> "Lease":
        """The lease of another node's folder, to be taken once by `take`, for a minute.

        It was seen as `found` (None: there is none) ever since `since`, a moment of `boot_time`.
        """
        lease = cls(repository, identity, holder, ttl=_TURN)
        record = Record.from_bytes(found.data) if found else None
        lease._state = lease._state.looked(record, found.token if found else None, since)
        return lease

    async def take(self) -> bool:
        """Take the lease if that is allowed now; whether it is ours."""
        await self._step()
        if self._state.doubt:  # an answer was lost
            await self._step()
        return self.may_write()

    @property
    def state(self) -> Phase:
        """Where this node stands."""
        return self._state.phase

    @property
    def epoch(self) -> int | None:
        """Grows with every change of owner; None until the lease was ours once."""
        return self._state.held.record.epoch if self._state.held else None

    @property
    def holder(self) -> str | None:
        """Who holds the lease as far as we know; None: nobody."""
        record = self._state.seen.record if self._state.seen else None
        return record.holder if record and record.owner is not None else None

    def may_write(self) -> bool:
        """Whether this node may write in its runtime folder at this moment."""
        return self._state.may_write(self._clock())

    async def owned(self) -> None:
        """Wait until the lease was ours for the first time or again."""
        await self._owned.wait()

    def status(self) -> Mapping[str, Any]:
        """For /api/status."""
        return {
            "state": self.state.value,
            "mayWrite": self.may_write(),
            "holder": self.holder,
            "epoch": self.epoch,
            "error": self._error,
        }

    async def run(self, health: Reporter) -> None:
        """Keep the lease for ever; a root task."""
        health.register_loop(_CONDITION, _LOOP_LIMIT)
        try:
            while True:
                before = self._state.phase
                await self._step()
                self._report(health, before)
                health.beat(_CONDITION)
                await self._rest()
        finally:
            LEASE_HELD.set(0)

    async def knows(self, repository: Repository) -> bool:
        """Whether `repository` leads to this very lease, by whatever name and account.

        Only what lies there can tell: a server may show each account a place of its own under one
        name. Raises what reading raises.
        """
        before = self._state.nonces  # it may be renewed while the answer is on its way
        try:
            content = await repository.read(LEASE)
        except Absent:
            return False
        return Record.from_bytes(content.data).nonce in before | self._state.nonces

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """No request about the lease is under way while the block runs, which must be short."""
        async with self._turn:
            yield

    def leave(self, left: Repository, *, trusting: bool) -> "Lease":
        """The repository leads to another place since this moment, while `paused`: nothing may be
        written there before the lease is ours there as well.

        The lease of the place that was left and that `left` still leads to, to be released.
        """
        state = self._state
        old = Lease(
            left,
            state.identity,
            state.holder,
            ttl=state.ttl,
            trusting=lambda: trusting,
            clock=self._clock,
        )
        old._state = state
        self._state = State(state.identity, state.holder, state.ttl)
        self._error = None
        self._owned.clear()
        LEASE_HELD.set(0)
        self._has_moved.set()
        return old

    async def release(self) -> Token | None:
        """Give the lease back, so that a successor need not wait; writing stops at once.

        The version that says so, None if there was none to write or that failed (which is told).
        """
        state = self._state
        self._state = State(state.identity, state.holder, state.ttl)
        self._owned.clear()
        try:
            async with asyncio.timeout(state.ttl / 3):
                if not self._trusting():
                    state = await self._seen_by(state)
                try:
                    return await self._give_back(state)
                except PreconditionFailed:
                    # Perhaps by our own renewal, given up while its answer was on the way.
                    return await self._give_back(await self._seen_by(state))
        except (AgentError, TimeoutError) as error:
            log.warning("the lease could not be given back; it ends by itself: %s", error)
            return None

    async def _give_back(self, state: State) -> Token | None:
        write = state.release(secrets.token_hex(8))
        if write is None or write.token is None:
            return None
        return await self._repository.replace(LEASE, write.record.to_bytes(), write.token)

    async def _step(self) -> None:
        """Do what is due: at most one look and one write."""
        try:
            async with self._turn, asyncio.timeout(self._state.ttl / 3):
                if not self._trusting():
                    self._state = self._state.unclear()
                action = self._state.action(self._clock(), secrets.token_hex(8))
                if isinstance(action, Look):
                    await self._look()
                    action = self._state.action(self._clock(), secrets.token_hex(8))
                if isinstance(action, Write):
                    await self._write(action)
            self._error = None
        except PreconditionFailed:
            self._state = self._state.unclear()
        except (AgentError, TimeoutError) as error:
            self._state = self._state.unclear()
            self._error = str(error) or f"{self._repository.location} did not answer in time"

    async def _look(self) -> None:
        self._state = await self._seen_by(self._state)

    async def _seen_by(self, state: State) -> State:
        """What `state` becomes by a look at the lease."""
        try:
            content = await self._repository.read(LEASE)
        except Absent:
            return state.looked(None, None, self._clock())
        record = Record.from_bytes(content.data)
        return state.looked(record, content.token, self._clock())

    async def _write(self, write: Write) -> None:
        self._state = self._state.sending(write, self._clock())
        data = write.record.to_bytes()
        if write.token is None:
            token = await self._repository.create(LEASE, data)
        else:
            token = await self._repository.replace(LEASE, data, write.token)
        self._state = self._state.written(write, token)

    async def _rest(self) -> None:
        """Until the next step is due; a new place is looked at without delay."""
        # Not wait_for: before Python 3.12 it loses a cancellation that comes with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause()):
                await self._has_moved.wait()
        self._has_moved.clear()

    def _pause(self) -> float:
        """Seconds until the next step."""
        third = self._state.ttl / 3
        if self._error or self._state.doubt:
            return self._backoff.next()
        self._backoff.reset()
        return third

    def _report(self, health: Reporter, before: Phase) -> None:
        phase = self._state.phase
        may_write = self.may_write()
        LEASE_HELD.set(may_write)
        (self._owned.set if may_write else self._owned.clear)()
        if phase in (Phase.WAITING, Phase.FENCED):
            message = self._foreign_message()
            health.fail(_CONDITION, message)
            if phase is not before:
                log.error(message, extra={"lease": phase.value})
        elif self._error:
            health.trouble(_CONDITION, self._error)
        elif may_write:
            health.ok(_CONDITION)
            if before is not Phase.OWNED:
                log.info("the runtime folder is ours", extra={"epoch": self.epoch})
        else:
            health.trouble(_CONDITION, f"not taken yet in {self._repository.location}")

    def _foreign_message(self) -> str:
        wait = self._state.patience
        taken = "was taken over by" if self._state.phase is Phase.FENCED else "is held by"
        return (
            f"the runtime folder {self._repository.location} {taken} {self.holder}; it is taken "
            f"over when its lease has not been renewed for {wait:g} s. If that node runs, give "
            "each node its own HARMONY_AGENT_HOST"
        )
