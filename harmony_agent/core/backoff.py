"""How long to wait before the next attempt."""

import random
from dataclasses import dataclass, field

__all__ = ["Backoff"]


@dataclass(slots=True)
class Backoff:
    """Exponential backoff with full jitter: `next()` is the wait in seconds before another attempt.

    Full jitter (a uniform share of the ceiling) keeps many agents from returning in step after an
    outage. `floor` keeps a single agent from spinning when the dice fall low.
    """

    first: float = 1.0
    ceiling: float = 30.0
    floor: float = 0.1
    _attempts: int = field(default=0, init=False)

    def next(self, retry_after: float | None = None) -> float:
        """The next wait; never less than what the other side asked for in `retry_after`."""
        limit = min(self.ceiling, self.first * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        wait = max(self.floor, random.uniform(0, limit))  # noqa: S311 - jitter, not cryptography
        return max(wait, retry_after or 0.0)

    def reset(self) -> None:
        """Start over after a success."""
        self._attempts = 0
