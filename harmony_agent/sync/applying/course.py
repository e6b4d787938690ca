"""How one action goes, or a convoy of them: its turn in the repository, the bytes it moved."""

from collections.abc import Callable
from typing import Final

from harmony_agent.core.errors import AgentError, Unavailable
from harmony_agent.sync.applying.turns import Turns
from harmony_agent.sync.decisions.policies import REMOTE_ACTS, Act

__all__ = ["Course"]

# Small files of these share waits and threads with others.
_CROWDED: Final = frozenset({Act.CREATE, Act.FETCH, Act.EXCHANGE, Act.LOOK})


class Course:
    """Of one action, or of a convoy of the same act. `sent` and `received` are bytes to and from
    the repository."""

    def __init__(self, act: Act, turns: Turns, may_write: Callable[[], bool]) -> None:
        """`may_write` says whether the repository may be written now."""
        self.sent = 0
        self.received = 0
        self._told: dict[int, object] = {}
        self._act = act
        self._turns = turns
        self._turn = turns.turn(crowded=act in _CROWDED)
        self._may_write = may_write

    def another(self) -> "Course":
        """One for a file of the convoy that takes a turn of its own."""
        return Course(self._act, self._turns, self._may_write)

    async def enter(self) -> None:
        """Wait for the turn in the repository; can be repeated.

        Raises GivenUpError, and Unavailable if the act writes there and this host may not.
        """
        await self._turn.enter()
        if self._act in REMOTE_ACTS and not self._may_write():
            raise Unavailable("this host's folder belongs to another owner at the moment")

    def tell(self, outcome: object) -> None:
        """What came of one file: see Turns.tell."""
        self._turns.tell(outcome)
        self._told[id(outcome)] = outcome

    def has_told(self, outcome: object) -> bool:
        """Whether just this error was told; for what is none, whether anything was."""
        return id(outcome) in self._told if isinstance(outcome, AgentError) else bool(self._told)

    def leave(self) -> None:
        """The repository is done with; can be repeated."""
        self._turn.leave()
