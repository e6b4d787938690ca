"""What a log system has to offer: take a batch, and answer a query."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harmony_agent.logs.event import Event
from harmony_agent.logs.query import Page, Query

__all__ = ["DeadLetter", "Limits", "LogSystem", "Receipt"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may carry: entries, and bytes before compression."""

    entries: int
    size: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event the log system will never take, and its reason in the log system's words."""

    event: Event
    reason: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch: its first `acknowledged` events are done with (stored, or listed in
    `dead`); the caller sends the rest again. `pause` asks to slow down, in seconds."""

    acknowledged: int
    dead: tuple[DeadLetter, ...] = ()
    pause: float = 0.0


class LogSystem(ABC):
    """One configured log system. It takes up to `concurrency` calls of `send` at once."""

    kind: ClassVar[str]
    limits: Limits

    @property
    def concurrency(self) -> int:
        """How many batches it may be sent at once; that may change from call to call."""
        return 1

    @abstractmethod
    async def send(self, events: Sequence[Event]) -> Receipt:
        """Deliver one batch, in order, within `limits`.

        Raises Unavailable (retry, obey `retry_after`) and Refused (wrong token, unknown index:
        hold and alarm, never drop); both mean that no event of the batch was acknowledged.
        """

    @abstractmethod
    async def search(self, query: Query) -> Page:
        """Answer one page of `query`.

        Raises QueryError (the question is wrong), Unavailable (slow, failing, rate-limited), and
        Refused (retrieval is not configured, or not permitted).
        """

    @abstractmethod
    async def probe(self) -> str:
        """Prove for `check` that credentials and network work; returns a sentence for a person.
        Raises Unavailable or Refused."""

    @abstractmethod
    async def close(self) -> None:
        """Give back connections and threads."""
