"""Brings events to the log system: tries for ever, drops nothing, resumes by itself."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.logs import metrics
from harmony_agent.logs.event import Event
from harmony_agent.logs.pipeline.dead_letters import DeadLetters
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


class Delivery:
    """Sends batches one after the other.

    `beat` is called before each attempt: the loop turns, even while the log system is down.
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
        self.last_error = ""
        self.dead = 0

    async def attempt(self, events: Sequence[Event]) -> int:
        """Send the first of `events`, and return how many of them are done with.

        Returns 0 after a failure, having waited; never raises for one.
        """
        self._beat()
        self._log_system.replaced.clear()
        batch = events[: self._log_system.limits.entries]
        try:
            receipt = await self._send(batch)
            await self._keep_dead(receipt)
        except Refused as error:
            log.error("the log system refuses events, which are held: %s", error)
            await self._wait(f"refused, events are held: {error}", "refused", self._held.next())
            return 0
        except Unavailable as error:
            log.warning("events can't be delivered, trying again: %s", error)
            wait = self._backoff.next(error.retry_after)
            await self._wait(f"trying again: {error}", "unavailable", wait)
            return 0
        self._told_well()
        metrics.DELIVERED.inc(receipt.acknowledged - len(receipt.dead))
        if receipt.pause:
            await asyncio.sleep(receipt.pause)
        return receipt.acknowledged

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
        metrics.DEAD.inc(len(receipt.dead))
        self.dead += len(receipt.dead)
        log.error(
            "the log system will never take %d events; they are kept in dead-letters.jsonl",
            len(receipt.dead),
            extra={"reason": receipt.dead[0].reason, "first_id": receipt.dead[0].event.id},
        )

    async def _wait(self, message: str, reason: str, seconds: float) -> None:
        """Tell the trouble and wait, but no longer than until the log system is replaced."""
        self.last_error = message
        self._health.trouble(CONDITION, message)
        metrics.FAILED.labels(reason).inc()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._log_system.replaced.wait()

    def _told_well(self) -> None:
        self._backoff.reset()
        self._held.reset()
        self.last_error = ""
        self._health.ok(CONDITION, self._log_system.kind)
