"""What others do in the repository: found by full listings and, where they have them, by markers.

Both are asked for in the background, since a listing may take a minute and pushing does not wait
for it; what they bring is taken in between two passes.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from typing import Final

from harmony_agent.core.errors import AgentError, Unavailable
from harmony_agent.sync.engine import Engine, Listing
from harmony_agent.sync.errands import Errand, Retry
from harmony_agent.sync.markers.bulletin import Bulletin

__all__ = ["Lookout"]

# Listings that markers ask for: a peer that writes a lot must not cost us more than that.
_APART: Final = 30.0  # seconds
_SHARE: Final = 4  # times what the last one took
_MOST_NAMED: Final = 4096  # paths that wait to be looked at


class Lookout:
    """Keeps what `engine` knows of the repository current. One call at a time, except `cancel`."""

    def __init__(
        self,
        side: str,
        *,
        engine: Engine,
        check: Callable[[], Awaitable[None]],
        list_interval: float,
        bulletin: Bulletin | None,
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """`check` raises an AgentError if the repository is not the one it was; `list_interval`
        is in seconds; `wake` is called when `turn` has something to take in."""
        self._engine = engine
        self._check = check
        self._list_interval = list_interval
        self._bulletin = bulletin
        self._clock = clock
        self._listing = Errand(f"list {side}", self._list, wake=wake, clock=clock)
        self._news = Errand(f"markers {side}", self._watch, wake=wake, clock=clock)
        self._news.at = math.inf if bulletin is None else clock()
        self._has_asked = False  # for a listing out of turn
        self._named: dict[str, bool] = {}
        self._look_retry = Retry(clock)

    @property
    def trouble(self) -> str | None:
        """Why the repository can't be looked at, for a person; None if it can."""
        return self._listing.trouble or self._news.trouble

    @property
    def due(self) -> float:
        """When there is something to do that `wake` does not tell, by the clock."""
        again = self._look_retry.at if self._named else None
        return min(self._listing.due, self._news.due, math.inf if again is None else again)

    def list_by(self, moment: float) -> None:
        """A full listing is wanted that begins at `moment` at the latest; what is under way
        counts, its outcome may change the wish."""
        if not self._listing.is_under_way:
            self._listing.plan(moment)

    async def turn(self) -> None:
        """Take in what has arrived and start what is due."""
        if await self._listing.take_in(self._engine.saw_repository):
            # Jitter keeps the nodes of a system from listing in step.
            wait = self._list_interval * random.uniform(0.9, 1.1)  # noqa: S311 - not cryptography
            self._listing.plan(self._clock() + wait)
        if await self._news.take_in(self._heard):
            self._news.plan(self._clock())
        self._listing.set_out()
        self._news.set_out()
        if self._named and self._look_retry.is_due():
            await self._look()

    async def cancel(self) -> None:
        """Give up what is under way."""
        await asyncio.gather(self._listing.cancel(), self._news.cancel())

    async def restart(self) -> None:
        """Ask for everything anew, also for what has just been answered: perhaps it is another
        repository."""
        await self.cancel()
        self._engine.forget_listings()
        self._named = {}
        self._listing.at = self._clock()

    async def _look(self) -> None:
        """Look at the paths that markers have named."""
        try:
            await self._engine.look_repository(self._named)
        except Unavailable as error:
            self._look_retry.failed(error)
            return
        except AgentError:  # a path that can't be looked at must not be in the others' way
            self._ask_for_listing()
        self._look_retry.succeeded()
        self._named = {}

    async def _list(self) -> Listing:
        await self._check()
        if self._bulletin is not None:
            await self._bulletin.before_listing()
        return await self._engine.list_repository()

    async def _watch(self) -> None:
        assert self._bulletin is not None
        await self._bulletin.watch()

    async def _heard(self, _: None) -> None:
        assert self._bulletin is not None
        found = self._bulletin.take()
        self._named = {**self._named, **found.named}
        if len(self._named) > _MOST_NAMED:
            self._named = {}
            self._ask_for_listing()
        elif found.gap:
            self._ask_for_listing()

    def _ask_for_listing(self) -> None:
        # The first time at once: nodes that start together meet in an empty repository.
        apart = max(_APART, _SHARE * self._listing.took) if self._has_asked else 0.0
        self._has_asked = True
        self._listing.plan(max(self._clock(), self._listing.began + apart))
