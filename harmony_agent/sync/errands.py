"""What is asked of a repository now and then beside the passes, and when failures are retried."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import AgentError, Unavailable

__all__ = ["Errand", "Retry"]

T = TypeVar("T")

_CEILING: Final = 30.0  # seconds between attempts while the repository can't be reached
_REFUSED_CEILING: Final = 60.0  # a person has to act first; we notice within a minute when they did


class Retry:
    """When to try again after failures; `at` is None while nothing has failed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._unavailable = Backoff(first=0.5, ceiling=_CEILING)
        self._refused = Backoff(first=5.0, ceiling=_REFUSED_CEILING)
        self.at: float | None = None

    def failed(self, error: AgentError) -> None:
        """The next attempt is put off."""
        if isinstance(error, Unavailable):
            wait = self._unavailable.next(error.retry_after)
        else:
            wait = self._refused.next()
        self.at = self._clock() + wait

    def succeeded(self) -> None:
        """Nothing has to be tried again."""
        self._unavailable.reset()
        self._refused.reset()
        self.at = None

    def is_due(self) -> bool:
        """Whether what failed may be tried again now."""
        return self.at is None or self._clock() >= self.at


class Errand(Generic[T]):
    """One question that takes its time, asked again and again in the background.

    `at` says when it is asked next: inf until somebody plans it, or it has failed; `began` and
    `took` tell of the last attempt, in seconds; `trouble` why it failed, for a person.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[], Awaitable[T]],
        *,
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """`wake` is called when an answer (or a failure) waits for `take_in`."""
        self._name = name
        self._ask = ask
        self._wake = wake
        self._clock = clock
        self._retry = Retry(clock)
        self._task: asyncio.Task[T] | None = None
        self.at = clock()
        self.began = -math.inf
        self.took = 0.0
        self.trouble: str | None = None

    def plan(self, at: float) -> None:
        """Ask at `at` at the latest, if nothing has failed; what is under way does not count."""
        if self._task is not None or self.trouble is None:
            self.at = min(self.at, at)

    @property
    def is_under_way(self) -> bool:
        """Whether an answer is awaited, or waits to be taken in."""
        return self._task is not None

    @property
    def due(self) -> float:
        """When something has to be done about it that `wake` does not tell."""
        return self.at if self._task is None else math.inf

    def set_out(self) -> None:
        """Ask, if it is time."""
        if self._task is None and self._clock() >= self.at:
            self.at = math.inf
            self.began = self._clock()
            self._task = asyncio.create_task(self._go(), name=self._name)
            self._task.add_done_callback(lambda _: self._wake())

    async def take_in(self, use: Callable[[T], Awaitable[None]]) -> bool:
        """Give an answer that has arrived to `use`; whether there was one.

        AgentErrors, of the question or of `use`, put off the next attempt.
        """
        if self._task is None or not self._task.done():
            return False
        ended, self._task = self._task, None
        try:
            await use(ended.result())
        except AgentError as error:
            self.trouble = str(error)
            self._retry.failed(error)
            self.at = self._retry.at or self._clock()
            return False
        self.trouble = None
        self._retry.succeeded()
        return True

    async def cancel(self) -> None:
        """Give up what is under way; it can be asked again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
            self.at = self._clock()

    async def _go(self) -> T:
        try:
            return await self._ask()
        finally:
            self.took = self._clock() - self.began
