"""A circuit breaker: a backend that is down is asked now and then, not by everybody at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from harmony_agent.core.backoff import Backoff

__all__ = ["Breaker"]

_FAILURES: Final = 5
_CEILING: Final = 10.0  # seconds; a third of a lease, so that a short outage does not cost it


@dataclass(slots=True)
class Breaker:
    """Opens after some failures in a row; then one attempt at a time, after growing pauses."""

    clock: Callable[[], float]
    _failures: int = field(default=0, init=False)
    _quiet_until: float = field(default=0.0, init=False)
    _probing: bool = field(default=False, init=False)
    _backoff: Backoff = field(
        default_factory=lambda: Backoff(first=1.0, ceiling=_CEILING, floor=0.5), init=False
    )

    @property
    def is_open(self) -> bool:
        """Whether the backend counts as down."""
        return self._failures >= _FAILURES

    def admit(self) -> float | None:
        """None: go ahead, and report `succeeded`, `failed` or `abandoned`. Else the seconds to wait
        before asking again."""
        if not self.is_open:
            return None
        wait = self._quiet_until - self.clock()
        if wait > 0:
            return wait
        if self._probing:
            return _CEILING
        self._probing = True
        return None

    def succeeded(self) -> None:
        """The backend answered, if only with a refusal."""
        self._failures = 0
        self._probing = False
        self._backoff.reset()

    def failed(self) -> None:
        """The backend did not answer, or is out of order."""
        self._failures += 1
        self._probing = False
        if self.is_open:
            self._quiet_until = self.clock() + self._backoff.next()

    def abandoned(self) -> None:
        """The operation was canceled: nothing was learned."""
        self._probing = False
