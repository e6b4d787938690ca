"""Brings this node's judgement and the shared record together, by compare-and-swap.

The repository is never waited for beyond a limit: what can't be read or written now is merged at
the next attempt.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from harmony_agent.core.errors import AgentError, OutcomeUnknown, PreconditionFailed
from harmony_agent.license.keeper import Copy, RecordKeeper
from harmony_agent.license.machine import History, Step
from harmony_agent.license.record import Record, merge, plausible
from harmony_agent.repositories.interface import Repository

__all__ = ["Ledger"]

log = logging.getLogger(__name__)

_LIMIT: Final = 30.0  # seconds for one round of reading or writing
_ROUNDS: Final = 5  # other nodes may be first as often as that
_PATIENCE: Final = 900.0  # seconds that a pod without a past waits for the repository


class Ledger:
    """The shared record as one node uses it.

    `repository` gives the opened configuration repository or None; it is None itself where no
    repository is configured. `recalled` tells that a local copy was found.
    """

    def __init__(
        self,
        keeper: RecordKeeper,
        repository: Callable[[], Repository | None] | None,
        *,
        recalled: bool,
    ) -> None:
        self._keeper = keeper
        self._repository = repository
        self._known = recalled or repository is None
        self._shared = frozenset[str]()
        self._since = asyncio.get_running_loop().time()

    def is_shared(self, outage_id: str) -> bool:
        """Whether this outage stands in the repository, as far as this node has seen."""
        return outage_id in self._shared

    async def settle(
        self, record: Record, now: float, decide: Callable[[Record, History], Step]
    ) -> Step:
        """Merge `record` with the repository's, decide on that, and write back what came out.

        `decide` is called again if another node was first, so it must be pure.
        """
        for _ in range(_ROUNDS):
            repository, copy = await self._fetch(record, now)
            known = record if copy is None else merge(record, plausible(copy.record, now))
            standing, effects = decide(known, self._history())
            if repository is None or copy is None or standing.record == copy.record:
                break
            if await self._publish(repository, standing.record, copy):
                break
        return standing, effects

    def _history(self) -> History:
        if self._known:
            return History.KNOWN
        waited = asyncio.get_running_loop().time() - self._since
        return History.AWAITED if waited < _PATIENCE else History.UNKNOWN

    async def _fetch(self, known: Record, now: float) -> tuple[Repository | None, Copy | None]:
        repository = self._repository() if self._repository is not None else None
        if repository is None:
            return None, None
        try:
            async with asyncio.timeout(_LIMIT):
                copy = await self._keeper.fetch(repository, known, now)
        except (AgentError, TimeoutError) as error:
            log.warning("the license record can't be read now: %s", error or "no answer in time")
            return repository, None
        self._known = True
        self._shared = _ids(copy.record)
        return repository, copy

    async def _publish(self, repository: Repository, record: Record, copy: Copy) -> bool:
        """Whether this round is over: written, or not to be written now."""
        try:
            async with asyncio.timeout(_LIMIT):
                await self._keeper.publish(repository, record, copy)
        except (PreconditionFailed, OutcomeUnknown):
            return False
        except (AgentError, TimeoutError) as error:
            log.warning("the license record can't be written now: %s", error or "no answer in time")
            return True
        self._shared = _ids(record)
        return True


def _ids(record: Record) -> frozenset[str]:
    return frozenset(outage.id for outage in record.outages)
