"""What all nodes of a system know of one license, and how two copies of it become one.

Pure. The record is shared through the configuration repository and copied to each state directory
(`keeper`). Merging gives the same whatever the order, so nodes that could not reach the repository
for days need no coordination afterwards.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Final

from harmony_agent.core.json_shape import Range

__all__ = [
    "EMPTY",
    "Outage",
    "OutageKind",
    "Record",
    "Rejection",
    "Success",
    "merge",
    "plausible",
    "salvage",
]

# Clocks of two nodes may differ by this much before a time counts as impossible.
_SKEW: Final = 3600.0

# Seconds since 1970 in UTC, up to the year 2100: what every date function can print.
Time = Annotated[float, Range(0, 4102444800)]


class OutageKind(StrEnum):
    """Why the license counts as not verified.

    Kept apart since they concern different nodes: one that verified the license before is not
    touched by the service's absence, but is by its refusal.
    """

    UNREACHABLE = "unreachable"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Success:
    """The last verification by any node; `ended` are the ids of the outages that it and the ones
    before it ended. Times alone would not tell: nodes' clocks differ by seconds."""

    at: Time
    node: str
    serial: str | None = None
    ended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outage:
    """One outage of a whole system: its UUID, its start, the node and cause that opened it, and
    the number of the ticket at Cleo."""

    id: str
    kind: OutageKind
    start: Time
    node: str
    cause: str
    ticket: str | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """The service refused the license before it was ever verified, and before any outage."""

    at: Time
    node: str
    status: str
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Everything known of one license. In normal form (which `merge` gives) the outages run: no
    success came after their start."""

    success: Success | None = None
    unreachable: Outage | None = None
    refused: Outage | None = None
    rejection: Rejection | None = None

    def outage(self, kind: OutageKind) -> Outage | None:
        """The running outage of this kind."""
        return self.unreachable if kind is OutageKind.UNREACHABLE else self.refused

    @property
    def outages(self) -> tuple[Outage, ...]:
        """The running outages, the earliest first."""
        running = [o for o in (self.unreachable, self.refused) if o is not None]
        return tuple(sorted(running, key=lambda o: (o.start, o.id)))

    def with_outage(self, outage: Outage) -> "Record":
        """The record with `outage` in the place of its kind."""
        if outage.kind is OutageKind.UNREACHABLE:
            return replace(self, unreachable=outage, rejection=None)
        return replace(self, refused=outage, rejection=None)

    def with_ticket(self, outage_id: str, ticket: str) -> "Record":
        """The record with the ticket's number at that outage, if it still runs."""
        for outage in self.outages:
            if outage.id == outage_id:
                return self.with_outage(replace(outage, ticket=ticket))
        return self


EMPTY: Final = Record()


def merge(one: Record, other: Record) -> Record:
    """Both copies as one: the last success, the earliest start of each running outage."""
    success = _later_success(one.success, other.success)
    rejection = _first_rejection(one.rejection, other.rejection)
    unreachable = _running(success, one.unreachable, other.unreachable)
    refused = _running(success, one.refused, other.refused)
    # A Harmony that was given its grace keeps it, whatever a newcomer was told.
    rejected = success is None and unreachable is None and refused is None
    return Record(success, unreachable, refused, rejection if rejected else None)


def plausible(record: Record, now: float) -> Record:
    """The record as far as it can be true at `now`: of a success in the future only the fact
    stays, not the time, else a wrong clock would hold off every later outage."""
    success = record.success
    if success is None or success.at <= now + _SKEW:
        return record
    return replace(record, success=replace(success, at=0.0))


def salvage(record: Record, known: Record, now: float) -> Record:
    """What may be used of a copy whose protection fails: outages that started after the last
    success (by that copy, and by what is `known` for sure) and not in the future.

    Never against a rejection that is known for sure: that would be grace for a refused license.
    """
    if known.rejection is not None:
        return EMPTY
    last = max((r.success.at for r in (record, known) if r.success is not None), default=0.0)
    fine = {o.kind: o for o in record.outages if last <= o.start <= now}
    return Record(
        unreachable=fine.get(OutageKind.UNREACHABLE), refused=fine.get(OutageKind.REFUSED)
    )


def _later_success(one: Success | None, other: Success | None) -> Success | None:
    if one is None or other is None:
        return one or other
    later = max(one, other, key=lambda s: (s.at, s.node, s.serial or ""))
    return replace(later, ended=tuple(sorted({*one.ended, *other.ended})))


def _first_rejection(one: Rejection | None, other: Rejection | None) -> Rejection | None:
    if one is None or other is None:
        return one or other
    return min(one, other, key=lambda r: (r.at, r.node, r.status, r.message or ""))


def _running(success: Success | None, *outages: Outage | None) -> Outage | None:
    """The earliest of those that no success ended; a ticket that one copy knows is kept."""
    running = [
        o
        for o in outages
        if o is not None
        and (success is None or (o.start >= success.at and o.id not in success.ended))
    ]
    if not running:
        return None
    first = min(running, key=lambda o: (o.start, o.id, o.node, o.cause))
    tickets = [o.ticket for o in running if o.id == first.id and o.ticket is not None]
    return replace(first, ticket=min(tickets, default=None))
