"""How a batch is delivered over a service that may refuse single entries: chunk, halve, skip."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from harmony_agent.core.errors import AgentError, Refused, Unavailable
from harmony_agent.logs.event import Event
from harmony_agent.logs.systems.interface import DeadLetter, Limits, Receipt

__all__ = ["Outcome", "Piece", "Verdict", "deliver"]

# So many refused events and not one accepted: the fault lies with the way, not with the events.
_HOPELESS: Final = 20


class Outcome(Enum):
    """What an answer means for the entries of one request."""

    ACCEPTED = auto()
    POISONED = auto()  # one entry can never be taken
    TOO_LARGE = auto()  # the request as a whole
    BUSY = auto()  # try again later
    REFUSED = auto()  # a person has to change something


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of one answer.

    `taken` entries at the beginning of the request are stored although the answer is an error.
    `found`: the entry after those is the poisoned one; else the answer does not tell which it is.
    `wait` is in seconds: before the next attempt when busy, between requests when accepted.
    """

    outcome: Outcome
    reason: str = ""
    taken: int = 0
    found: bool = False
    wait: float | None = None


@dataclass(slots=True)
class Piece:
    """One entry of a request: an event, or one part of an event that fits in none.

    `last` marks the piece after which its event is complete. `lost` says why the event can't be
    delivered whole; a shortened copy is sent, and the event becomes a dead letter. Not frozen, for
    the same reason as Event.
    """

    event: Event
    data: bytes
    last: bool = True
    lost: str | None = None


Post = Callable[[Sequence[bytes]], Awaitable[Verdict]]


@dataclass(slots=True)
class _Progress:
    done: int = 0  # pieces
    events: int = 0
    stored: bool = False  # at least one piece
    dead: list[DeadLetter] = field(default_factory=list)
    pause: float = 0.0
    _reason: str | None = None  # why the event whose last piece is still to come is dead

    def store(self, pieces: Sequence[Piece]) -> None:
        self.stored = self.stored or bool(pieces)
        for piece in pieces:
            self._pass(piece, piece.lost)

    def skip(self, piece: Piece, reason: str) -> None:
        self._pass(piece, reason)

    def _pass(self, piece: Piece, reason: str | None) -> None:
        self.done += 1
        self._reason = self._reason or reason
        if piece.last:
            self.events += 1
            if self._reason:
                self.dead.append(DeadLetter(piece.event, self._reason))
            self._reason = None

    @property
    def hopeless(self) -> bool:
        return not self.stored and len(self.dead) >= _HOPELESS

    @property
    def receipt(self) -> Receipt:
        return Receipt(self.events, tuple(self.dead), self.pause)


async def deliver(pieces: Sequence[Piece], limits: Limits, post: Post) -> Receipt:
    """Send `pieces` in order, in requests within `limits`, until all are done with or one fails.

    A refused entry is found by the answer's own number or by halving the request, and becomes a
    dead letter. After a failure what is done so far is reported in the receipt; the error is
    raised (Unavailable, Refused) only if no event is done with.
    """
    progress = _Progress()
    window = limits.entries
    while progress.done < len(pieces):
        chunk = _chunk(pieces, progress.done, window, limits.size)
        try:
            verdict = await post([piece.data for piece in chunk])
            window = _apply(verdict, chunk, progress, limits)
        except (Unavailable, Refused) as error:
            return _report(error, progress)
    return progress.receipt


def _chunk(pieces: Sequence[Piece], start: int, window: int, size: int) -> Sequence[Piece]:
    """The next pieces that fit in one request; at least one, however big."""
    end, used = start, 0
    while end < len(pieces) and end - start < window:
        used += len(pieces[end].data) + 1  # and its separator
        if used > size and end > start:
            break
        end += 1
    return pieces[start:end]


def _apply(verdict: Verdict, chunk: Sequence[Piece], progress: _Progress, limits: Limits) -> int:
    """Note what `verdict` says about `chunk`; returns how many pieces the next request may hold.

    Raises Unavailable or Refused.
    """
    progress.store(chunk[: verdict.taken])
    rest = chunk[verdict.taken :]
    match verdict.outcome:
        case Outcome.ACCEPTED:
            progress.store(rest)
            progress.pause = max(progress.pause, verdict.wait or 0.0)
        case Outcome.BUSY:
            raise Unavailable(verdict.reason, retry_after=verdict.wait)
        case Outcome.REFUSED:
            raise Refused(verdict.reason)
        case _ if not verdict.found and len(rest) > 1:
            return len(rest) // 2
        case _:
            progress.skip(rest[0], verdict.reason)
            if progress.hopeless:
                raise Refused(f"every event is refused, the last one as: {verdict.reason}")
    return min(limits.entries, 2 * len(chunk))


def _report(error: AgentError, progress: _Progress) -> Receipt:
    if not progress.events or progress.hopeless:
        raise error
    if isinstance(error, Unavailable):
        progress.pause = max(progress.pause, error.retry_after or 0.0)
    return progress.receipt
