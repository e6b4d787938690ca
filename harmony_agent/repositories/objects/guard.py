"""The time limit and the errors of one operation on an object store."""

import asyncio
from collections.abc import Callable
from types import TracebackType

from harmony_agent.core.errors import AgentError, OutcomeUnknown
from harmony_agent.repositories.http.connection import Beat
from harmony_agent.repositories.objects.uploads import SourceFailed

__all__ = ["Guard"]


class Guard:
    """Gives a beat that renews the limit. A class of its own instead of a generator, because every
    request passes it."""

    __slots__ = ("_deadline", "_limit", "_translate", "_what")

    def __init__(
        self,
        limit: float,
        what: Callable[[], str],
        translate: Callable[[Exception, str], AgentError],
    ) -> None:
        """`limit` in seconds; `what` gives the beginning of an error's message; `translate` makes
        the agent's error of a library's and that beginning."""
        self._limit = limit
        self._what = what
        self._translate = translate
        self._deadline = asyncio.timeout(limit)

    async def __aenter__(self) -> Beat:
        await self._deadline.__aenter__()
        return self._renew

    def _renew(self) -> None:
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._limit)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._deadline.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise OutcomeUnknown(f"{self._what()}: no answer within {self._limit:g} s") from late
        # Libraries raise anything; this is the seam.
        if isinstance(error, Exception) and not isinstance(error, AgentError | SourceFailed):
            raise self._translate(error, self._what()) from error
