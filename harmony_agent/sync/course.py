"""How one action goes, or a convoy of them: its turn in the repository, the bytes it moved."""

from collections.abc import Callable

from harmony_agent.core.errors import Unavailable
from harmony_agent.sync.policies import REMOTE_ACTS, Act
from harmony_agent.sync.turns import Turn

__all__ = ["Course"]


class Course:
    """Of one action, or of a convoy of the same act. `sent` and `received` are bytes to and from
    the repository."""

    def __init__(self, act: Act, turn: Turn, may_write: Callable[[], bool]) -> None:
        """`may_write` says whether the repository may be written now."""
        self.sent = 0
        self.received = 0
        self._writes = act in REMOTE_ACTS
        self._turn = turn
        self._may_write = may_write

    async def enter(self) -> None:
        """Wait for the turn in the repository; can be repeated.

        Raises GivenUpError, and Unavailable if the act writes there and this host may not.
        """
        await self._turn.enter()
        if self._writes and not self._may_write():
            raise Unavailable("this host's folder belongs to another owner at the moment")

    def leave(self) -> None:
        """The repository is done with; can be repeated."""
        self._turn.leave()
