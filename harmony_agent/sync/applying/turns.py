"""Whose turn it is in the repository: of the many files in flight only so many ask it at once."""

import asyncio
from typing import Final

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    PreconditionFailed,
    Unavailable,
    Unsupported,
)

__all__ = ["GivenUpError", "Turn", "Turns"]

# So many failures without a success in between mean the repository, not the files.
_HOPELESS: Final = 16
# What is changed one by one, in home or in the repository, gains nothing by a crowd.
_FEW: Final = 16


# These say that the repository answers.
_ANSWERS: Final = (Absent, PreconditionFailed, Unsupported)


class GivenUpError(Unavailable):
    """So much failed that the rest is not tried."""

    def __init__(self) -> None:
        super().__init__("so much failed that this was not tried")


class Turns:
    """The places of one group of actions; none is given any more once it looks hopeless."""

    def __init__(self, at_once: int) -> None:
        """`at_once` is how many operations the repository does well."""
        self.places = asyncio.Semaphore(at_once)
        """For a look at what became of a file that has left its own place."""
        self._few = asyncio.Semaphore(min(at_once, _FEW))
        self._failures_in_a_row = 0

    @property
    def are_hopeless(self) -> bool:
        """Whether so much failed that nothing more is tried."""
        return self._failures_in_a_row >= _HOPELESS

    def tell(self, outcome: object) -> None:
        """What came of one file: an error counts, unless the repository is well."""
        if isinstance(outcome, GivenUpError):
            return
        failed = isinstance(outcome, AgentError) and not isinstance(outcome, _ANSWERS)
        self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0

    def turn(self, *, crowded: bool) -> "Turn":
        """For one action; with `crowded` for one of those that are cheap in a crowd."""
        return Turn(self, self.places if crowded else self._few)


class Turn:
    """The place of one action, or of one file of a convoy, in the repository."""

    def __init__(self, turns: Turns, places: asyncio.Semaphore) -> None:
        self._turns = turns
        self._places = places
        self._has_place = False

    async def enter(self) -> None:
        """Wait for the place, before the repository is asked for something; can be repeated.

        Raises GivenUpError if it is of no use any more.
        """
        if self._has_place:
            return
        await self._places.acquire()
        self._has_place = True
        if self._turns.are_hopeless:
            raise GivenUpError

    def leave(self) -> None:
        """Give the place to the next, once the repository is done with; can be repeated."""
        if self._has_place:
            self._has_place = False
            self._places.release()
