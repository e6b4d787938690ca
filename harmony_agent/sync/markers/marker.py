"""The change marker: what a node tells the others it wrote into the repository. Pure.

One object per node, written by that node alone. Others look at its token now and then and read it
only when that has changed; so a quiet system costs a listing of one small folder however many
files there are. Changes are numbered, so that a reader finds out what it has missed. Clocks play
no part.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

__all__ = ["LARGEST_MARKER", "Change", "Marker", "News", "Place", "news"]

T = TypeVar("T", int, str, bool)

_FORMAT: Final = 1
_REMEMBERED: Final = 256  # changes; who misses more of them lists the repository

LARGEST_MARKER: Final = 4 * 1024 * 1024
"""Bytes; more than 256 changes with the longest names take, so what is larger is no marker."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file that was written or deleted in the repository; numbers grow with each change."""

    number: int
    path: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Up to where a marker was read: the last change of an epoch that is known."""

    epoch: str
    number: int


@dataclass(frozen=True, slots=True)
class News:
    """What a marker tells that was not known: paths that were changed (True: deleted), and
    whether there is or may be more than these, so that only a listing tells."""

    named: Mapping[str, bool] = field(default_factory=dict)
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Marker:
    """The changes after number `since` up to `last`, of each path only the latest, oldest first.

    An `epoch` is a stretch in which nothing was written that is not told; a node that can't vouch
    for that begins a new one. `nonce` tells one write of the marker from another. `closed` is the
    last marker of a node that ended in order: its epoch may go on when it comes back. `day` is the
    last one (see days.py) on which the node was there.
    """

    epoch: str
    since: int
    last: int
    nonce: str
    closed: bool = False
    day: int = 0
    changes: tuple[Change, ...] = ()

    @classmethod
    def begin(cls, epoch: str, nonce: str) -> "Marker":
        """A new epoch: whatever was written before it, others have to find by a listing."""
        return cls(epoch, since=1, last=1, nonce=nonce)

    @property
    def place(self) -> Place:
        """Where a reader of it stands."""
        return Place(self.epoch, self.last)

    def telling(
        self, written: Mapping[str, bool], nonce: str, *, closed: bool = False, day: int = 0
    ) -> "Marker":
        """This marker with further changes, path → is it deleted, in their order."""
        number = self.last
        changes = {change.path: change for change in self.changes}
        for path, deleted in written.items():
            number += 1
            changes.pop(path, None)  # the latest comes last
            changes[path] = Change(number, path, deleted)
        kept = tuple(changes.values())
        dropped, kept = kept[:-_REMEMBERED], kept[-_REMEMBERED:]
        since = dropped[-1].number if dropped else self.since
        return replace(
            self,
            since=since,
            last=number,
            nonce=nonce,
            closed=closed,
            day=max(day, self.day),
            changes=kept,
        )

    def to_bytes(self) -> bytes:
        """JSON, as it is stored. ASCII, since names may hold what is no text."""
        content = {
            "format": _FORMAT,
            "epoch": self.epoch,
            "since": self.since,
            "last": self.last,
            "nonce": self.nonce,
            "closed": self.closed,
            "day": self.day,
            "changes": [[c.number, c.path, c.deleted] for c in self.changes],
        }
        return json.dumps(content, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> "Marker | None":
        """What is stored; None for what is garbled or of a format we don't know."""
        try:
            return _parsed(json.loads(data))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


def news(known: Place | None, marker: Marker | None) -> News:
    """What `marker` (None: there is one that can't be read) tells a reader who stands at `known`
    (None: never read one of this node)."""
    if marker is None:
        return News(gap=True)
    continues = (
        known is not None
        and known.epoch == marker.epoch
        and marker.since <= known.number <= marker.last
    )
    after = known.number if known is not None and continues else 0
    named = {change.path: change.deleted for change in marker.changes if change.number > after}
    return News(named, gap=not continues)


def _parsed(content: dict[str, Any]) -> Marker:
    """Raises ValueError, KeyError or TypeError for what is no marker of our format."""
    if content["format"] != _FORMAT:
        raise ValueError("another format")
    changes = tuple(
        Change(_typed(int, number), _typed(str, path), _typed(bool, deleted))
        for number, path, deleted in content["changes"]
    )
    marker = Marker(
        epoch=_typed(str, content["epoch"]),
        since=_typed(int, content["since"]),
        last=_typed(int, content["last"]),
        nonce=_typed(str, content["nonce"]),
        closed=_typed(bool, content["closed"]),
        day=_typed(int, content.get("day", 0)),  # earlier versions wrote none
        changes=changes,
    )
    numbers = [marker.since, *(change.number for change in changes)]
    if any(later <= earlier for earlier, later in itertools.pairwise(numbers)):
        raise ValueError("the changes are out of order")
    if marker.day < 0:
        raise ValueError("days begin at zero")
    if marker.since < 0 or numbers[-1] != marker.last:
        raise ValueError("the numbers contradict each other")
    return marker


def _typed(kind: type[T], value: object) -> T:
    if type(value) is not kind:  # a bool is an int to isinstance
        raise TypeError(f"{kind.__name__} expected")
    return value
