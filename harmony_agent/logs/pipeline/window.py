"""What is in flight: how many batches may be, and how far the acknowledged ones reach. No I/O."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harmony_agent.logs.event import Event
from harmony_agent.logs.sources.position import Position

__all__ = ["Batch", "InFlight", "Window"]


@dataclass(slots=True)
class Window:
    """How many batches may be on their way at once: one more after each round of successes, half
    as many after a failure, so that a log system gets what it bears and no more."""

    size: int = 1
    _successes: int = 0

    def succeeded(self, ceiling: int) -> None:
        """A batch was taken whole; `ceiling` is the most that the log system may be sent."""
        self._successes += 1
        if self._successes >= self.size:
            self.size, self._successes = self.size + 1, 0
        self.size = min(self.size, ceiling)

    def failed(self) -> None:
        """The log system is busy, down, or refuses."""
        self.size, self._successes = max(1, self.size // 2), 0


@dataclass(slots=True, eq=False)
class Batch:
    """Events that are not done with, the place in the log after them, and the bytes of the log
    from which they were read. `copies`: all segments up to that number hold none after them."""

    events: Sequence[Event]
    after: Position
    size: int
    copies: int = 0


class InFlight:
    """Batches in the order of the log. They may be done with in any order; progress is the end of
    the first ones that all are."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self.copies = 0
        """The highest `copies` of a batch that is left behind, or of none."""

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    @property
    def size(self) -> int:
        """Bytes of the log that its events were read from."""
        return sum(batch.size for batch in self._batches if batch.events)

    @property
    def pending(self) -> int:
        """How many events are not done with."""
        return sum(len(batch.events) for batch in self._batches)

    def add(self, batch: Batch) -> None:
        """What was read after all others."""
        self._batches.append(batch)

    def extend(self, after: Position) -> bool:
        """Nothing lies between the last batch and `after`; False if there is no batch."""
        if self._batches:
            self._batches[-1].after = after
        return bool(self._batches)

    def cover(self, copies: int) -> None:
        """All segments up to number `copies` hold only events that were added by now."""
        if self._batches:
            self._batches[-1].copies = copies
        else:
            self.copies = copies

    def advance(self) -> Position | None:
        """Leave the batches behind that are done with up to the first one that is not; the place
        after them, or None if there are none."""
        position = None
        while self._batches and not self._batches[0].events:
            batch = self._batches.popleft()
            position = batch.after
            self.copies = max(self.copies, batch.copies)
        return position
