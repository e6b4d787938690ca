"""Brings events to the log system: tries for ever, drops nothing, resumes by itself."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.logs import metrics
from harmony_agent.logs.event import Event
from harmony_agent.logs.pipeline.dead_letters import DeadLetters
from harmony_agent.logs.pipeline.window import Window
from harmony_agent.logs.systems.current import CurrentLogSystem
from harmony_agent.logs.systems.interface import Receipt

__all__ = ["CONDITION", "SEND_LIMIT", "Delivery"]

log = logging.getLogger(__name__)

CONDITION: Final = "log-system"

# Log systems have limits of their own; this one guards against one that never answers.
SEND_LIMIT: Final = 600.0

# A refusal holds until a person acts: asked again rarely, so that no account gets locked.
_HELD_FIRST: Final = 30.0
_HELD_CEILING: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Begin:
    """When an attempt began: after how many failures, with which log system."""

    failures: int
    version: int


class Delivery:
    """Sends batches, several at once if the caller likes: `window` says how many it should.

    After a failure all of them wait, for no less than the other side asks for. `beat` is called
    before each attempt: the loop turns, even while the log system is down.
    """

    def __init__(
        self,
        log_system: CurrentLogSystem,
        dead_letters: DeadLetters,
        health: Health,
        beat: Callable[[], None],
    ) -> None:
        self._log_system = log_system
        self._dead_letters = dead_letters
        self._health = health
        self._beat = beat
        self._backoff = Backoff()
        self._held = Backoff(first=_HELD_FIRST, ceiling=_HELD_CEILING, floor=_HELD_FIRST / 2)
        self._not_before = 0.0  # the loop's time
        self._failures = 0
        self.window = Window()
        self.last_error = ""

    async def attempt(self, events: Sequence[Event]) -> int:
        """Send the first of `events` once that is allowed, and return how many are done with.

        Returns 0 after a failure; never raises for one.
        """
        await self._until_allowed()
        self._beat()
        begin = _Begin(self._failures, self._log_system.version)
        batch = events[: self._log_system.limits.entries]
        try:
            receipt = await self._send(batch)
            await self._keep_dead(receipt)
        except Refused as error:
            log.error("the log system refuses events, which are held: %s", error)
            message = f"refused, events are held: {error}"
            self._failed(begin, message, "refused", self._held, None)
            return 0
        except Unavailable as error:
            log.warning("events can't be delivered, trying again: %s", error)
            message = f"trying again: {error}"
            self._failed(begin, message, "unavailable", self._backoff, error.retry_after)
            return 0
        except Exception as error:
            # The last line of defense: a fault in a client library must not end the stream.
            log.exception("a fault of the agent itself keeps events back, trying again")
            message = f"trying again after a fault of the agent itself: {type(error).__name__}"
            self._failed(begin, message, "fault", self._backoff, None)
            return 0
        self._succeeded(begin, receipt, whole=receipt.acknowledged == len(batch))
        return receipt.acknowledged

    async def _until_allowed(self) -> None:
        """Wait as failures and pauses demand, but no longer than until the log system is
        replaced."""
        loop = asyncio.get_running_loop()
        # A timer may go off a hair early, by the clock's resolution: what was waited for is over.
        reached = loop.time()
        while self._not_before > reached:
            reached = self._not_before
            try:
                async with asyncio.timeout_at(reached):
                    await self._log_system.replaced.wait()
            except TimeoutError:
                continue
            self._not_before = 0.0
        self._log_system.replaced.clear()

    async def _send(self, batch: Sequence[Event]) -> Receipt:
        try:
            with metrics.SEND_SECONDS.time():
                async with asyncio.timeout(SEND_LIMIT), self._log_system.use() as system:
                    receipt = await system.send(batch)
        except TimeoutError as error:
            raise Unavailable(f"no answer within {SEND_LIMIT:g} s") from error
        if not max(1, len(receipt.dead)) <= receipt.acknowledged <= len(batch):
            raise Unavailable(f"acknowledged {receipt.acknowledged} of {len(batch)} events")
        return receipt

    async def _keep_dead(self, receipt: Receipt) -> None:
        """Write down what will never be taken, before it counts as acknowledged."""
        if not receipt.dead:
            return
        await self._dead_letters.keep(receipt.dead)
        log.error(
            "the log system will never take %d events: see harmony-agent dead-letters list",
            len(receipt.dead),
            extra={"reason": receipt.dead[0].reason, "first_id": receipt.dead[0].event.id},
        )

    def _failed(
        self,
        begin: _Begin,
        message: str,
        reason: str,
        backoff: Backoff,
        retry_after: float | None,
    ) -> None:
        metrics.FAILED.labels(reason).inc()
        if begin.version != self._log_system.version:
            return  # the new one may be asked at once
        self.last_error = message
        self._health.trouble(CONDITION, message)
        # Batches that were in flight together fail together: that is one failure.
        self._pause(backoff.next(retry_after) if self._shrink(begin) else retry_after or 0.0)

    def _succeeded(self, begin: _Begin, receipt: Receipt, *, whole: bool) -> None:
        metrics.DELIVERED.inc(receipt.acknowledged - len(receipt.dead))
        self._pause(receipt.pause)
        if not whole:
            self._shrink(begin)
        elif begin.failures == self._failures:
            self.window.succeeded(self._log_system.concurrency)
        else:
            return  # it began before the last failure and says nothing about the time since
        self._backoff.reset()
        self._held.reset()
        self.last_error = ""
        self._health.ok(CONDITION, self._log_system.kind)

    def _shrink(self, begin: _Begin) -> bool:
        """Send less at once, unless that was done since `begin`; whether it was not."""
        if begin.failures != self._failures:
            return False
        self._failures += 1
        self.window.failed()
        return True

    def _pause(self, seconds: float) -> None:
        """Let no attempt begin for so long."""
        moment = asyncio.get_running_loop().time() + seconds
        self._not_before = max(self._not_before, moment)
