"""Dead letters on another try, because a person asked for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harmony_agent.logs.pipeline.dead_letters import DeadLetters, Kept
from harmony_agent.logs.systems.current import CurrentLogSystem
from harmony_agent.logs.systems.interface import DeadLetter

__all__ = ["Resent", "resend"]

_AT_ONCE: Final = 20  # each may be large


@dataclass(slots=True)
class Resent:
    """How many events were taken, and which were refused again."""

    taken: int
    refused: list[DeadLetter]


async def resend(
    dead_letters: DeadLetters, log_system: CurrentLogSystem, ids: Sequence[str]
) -> Resent:
    """Send the events `ids` once more, under the same ids; what is taken is no dead letter any
    more, and what is refused again remains, with the new reason.

    Raises what `LogSystem.send` raises, and Unavailable if the dead letters can't be read; what
    was taken before that is gone from them.
    """
    resent = Resent(0, [])
    size = min(_AT_ONCE, log_system.limits.entries)
    for start in range(0, len(ids), size):
        rest = await dead_letters.find(ids[start : start + size])
        while rest:
            rest = await _send(dead_letters, log_system, rest, resent)
    return resent


async def _send(
    dead_letters: DeadLetters, log_system: CurrentLogSystem, letters: list[Kept], resent: Resent
) -> list[Kept]:
    """Send `letters`; those that are still to be sent."""
    async with log_system.use() as system:
        receipt = await system.send([letter.event for letter in letters])
    refused = {letter.event.id for letter in receipt.dead}
    done = [letter.event.id for letter in letters[: receipt.acknowledged]]
    if receipt.dead:
        await dead_letters.keep(receipt.dead)
    resent.refused += receipt.dead
    resent.taken += await dead_letters.remove([id_ for id_ in done if id_ not in refused])
    return letters[receipt.acknowledged :]
