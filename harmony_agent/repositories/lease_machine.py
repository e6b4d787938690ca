"""Who may write in a runtime folder: the decisions, without I/O and without a clock of their own.

A lease is one object in the folder, changed by compare-and-swap only. Its owner renews it each
third of its time to live, and stops writing MARGIN seconds before that time has passed since the
last renewal that succeeded was *sent*. Another node takes it over once it has seen the same version
for twice the time to live. So two nodes never write at the same time unless one clock runs at half
the speed of the other. All times are seconds of one machine's clock that also counts while the
machine sleeps (CLOCK_BOOTTIME); clocks of different machines are never compared.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import orjson

from harmony_agent.repositories.interface import Token

__all__ = ["MARGIN", "Action", "Held", "Look", "Phase", "Record", "Seen", "State", "Write"]

MARGIN: Final = 5.0
"""Seconds before the end of the time to live at which the owner stops writing."""
_REMEMBERED: Final = 32  # unanswered writes; a server that is silent for longer applies none late


class Phase(StrEnum):
    """Where a node stands."""

    SEEKING = "seeking"  # nothing known yet
    WAITING = "waiting"  # held by another node since before we came
    OWNED = "owned"
    FENCED = "fenced"  # it was ours and another node took it over


@dataclass(frozen=True, slots=True)
class Record:
    """What the lease object says. `owner` is None once it was given back."""

    owner: str | None
    holder: str
    epoch: int
    nonce: str
    ttl: float

    def to_bytes(self) -> bytes:
        """JSON, as it is stored."""
        return orjson.dumps(self, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Record":
        """Parse what is stored. Something unreadable counts as held by somebody unknown: it is
        taken over only after it has not changed for long enough."""
        try:
            fields: dict[str, Any] = orjson.loads(data)
            owner = fields["owner"]
            return cls(
                None if owner is None else str(owner),
                str(fields["holder"]),
                int(fields["epoch"]),
                str(fields["nonce"]),
                float(fields["ttl"]),
            )
        except (ValueError, KeyError, TypeError):
            return cls("unknown", "somebody unknown (the lease can't be read)", 0, "", 0.0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at the lease found: record and token, or neither; `since` when first seen so."""

    record: Record | None
    token: Token | None
    since: float


@dataclass(frozen=True, slots=True)
class Held:
    """A version of the lease that is ours, and when the request that wrote it was sent."""

    record: Record
    token: Token
    sent: float


@dataclass(frozen=True, slots=True)
class Look:
    """Read the lease."""


@dataclass(frozen=True, slots=True)
class Write:
    """Write `record` over version `token`, or create it if `token` is None."""

    record: Record
    token: Token | None


Action = Look | Write


@dataclass(frozen=True, slots=True)
class State:
    """All a node knows about its lease; every transition returns a new State."""

    identity: str
    holder: str
    ttl: float
    phase: Phase = Phase.SEEKING
    held: Held | None = None
    seen: Seen | None = None
    unanswered: tuple[tuple[str, float], ...] = ()
    """Nonces of writes that may have happened, each with the time it was sent."""
    doubt: bool = True
    """Whether the lease has to be read before anything is written."""

    def may_write(self, now: float) -> bool:
        """Whether the runtime folder is ours at this moment."""
        return (
            self.phase is Phase.OWNED
            and self.held is not None
            and now < self.held.sent + self.ttl - MARGIN
        )

    @property
    def patience(self) -> float:
        """Seconds without a change after which the lease that was seen may be taken over."""
        record = self.seen.record if self.seen else None
        return 2 * max(self.ttl, record.ttl if record else 0.0)

    @property
    def nonces(self) -> frozenset[str]:
        """Of the versions that this lease was seen in, or that we may have written."""
        records = [known.record for known in (self.held, self.seen) if known is not None]
        nonces = {record.nonce for record in records if record is not None}
        return frozenset({*nonces, *(nonce for nonce, _ in self.unanswered)} - {""})

    def action(self, now: float, nonce: str) -> Action:
        """What to do next; `nonce` makes the next version different from all others."""
        if self.doubt or self.seen is None:
            return Look()
        if self.phase is Phase.OWNED and self.held:
            return Write(replace(self.held.record, nonce=nonce), self.held.token)
        if not self._may_take(self.seen, now):
            return Look()
        known = (self.seen.record, self.held.record if self.held else None)
        epoch = 1 + max((record.epoch for record in known if record), default=0)
        record = Record(self.identity, self.holder, epoch, nonce, self.ttl)
        return Write(record, self.seen.token)

    def release(self, nonce: str) -> Write | None:
        """The write that gives the lease back, None if there is nothing to give. It keeps the
        epoch, which grows from owner to owner."""
        if self.phase is not Phase.OWNED or self.held is None:
            return None
        return Write(replace(self.held.record, owner=None, nonce=nonce), self.held.token)

    def _may_take(self, seen: Seen, now: float) -> bool:
        if seen.record is None or seen.record.owner is None:
            return True
        if seen.record.owner == self.identity and self.phase is not Phase.FENCED:
            return True  # our own earlier life: this state directory is locked by us alone
        return now - seen.since >= self.patience

    def sending(self, write: Write, now: float) -> "State":
        """A write is about to be sent."""
        sent = (*self.unanswered, (write.record.nonce, now))
        return replace(self, unanswered=sent[-_REMEMBERED:])

    def written(self, write: Write, token: Token) -> "State":
        """A write was acknowledged: the lease is ours."""
        sent = dict(self.unanswered)[write.record.nonce]
        held = Held(write.record, token, sent)
        return self._owned(held, Seen(write.record, token, sent))

    def unclear(self) -> "State":
        """A request failed or was refused: the lease has to be read.

        A refused write may be ours all the same: a proxy that sends it again after its answer was
        lost reports only the second try. Its nonce tells.
        """
        return replace(self, doubt=True)

    def looked(self, record: Record | None, token: Token | None, now: float) -> "State":
        """The lease was read; `now` is when the answer came."""
        unchanged = self.seen is not None and self.seen.token == token
        seen = self.seen if unchanged and self.seen else Seen(record, token, now)
        state = replace(self, seen=seen, doubt=False)
        if record is None or token is None:
            # Never made, or somebody deleted it: whoever creates it owns it.
            return replace(state, phase=Phase.SEEKING)
        sent = dict(self.unanswered).get(record.nonce)
        if sent is not None and record.owner == self.identity:  # our write, its answer was lost
            return state._owned(Held(record, token, sent), seen)
        if self.held and record.nonce == self.held.record.nonce:  # still our last version
            # Under another token perhaps: a file has one for each way that leads to it.
            return replace(state, phase=Phase.OWNED, held=replace(self.held, token=token))
        if self.phase in (Phase.OWNED, Phase.FENCED):
            return replace(state, phase=Phase.FENCED, held=None, unanswered=())
        if record.owner in (self.identity, None):
            return replace(state, phase=Phase.SEEKING)
        return replace(state, phase=Phase.WAITING)

    def _owned(self, held: Held, seen: Seen) -> "State":
        return replace(self, phase=Phase.OWNED, held=held, seen=seen, unanswered=(), doubt=False)
