"""One read of one file: from a position to the events after it and the position after them."""

from dataclasses import dataclass, field
from typing import Final

from harmony_agent.logs.event import Event
from harmony_agent.logs.sources.generations import Source
from harmony_agent.logs.sources.pieces import END
from harmony_agent.logs.sources.position import Context, Position
from harmony_agent.logs.sources.reader import Damage, EventReader, Parsed
from harmony_agent.logs.systems.interface import Limits

__all__ = ["MOST_EVENT_BYTES", "UNSETTLED_PAUSE", "Changed", "Reading", "take"]

# An event larger than this is skipped: Splunk takes 5 MB, Datadog 1 MB.
MOST_EVENT_BYTES: Final = 16 * 1024 * 1024
UNSETTLED_PAUSE: Final = 0.25
"""Seconds after which another look at an unsettled log is worth its while."""

_CHUNK: Final = 256 * 1024  # some 1,000 events
# The closing tags are written over by the next event: skipping stops before them.
_CLOSING_TAGS: Final = 256
_START: Final = b"<Event"


class Changed(Exception):
    """A file was exchanged while it was being read."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Events and the position after them, `size` bytes on; `behind` is how many bytes lie beyond
    it in its file. `gap`: a log that was not read to its end is gone, with so many bytes at least.
    `at_end`: the log holds nothing beyond it, as far as was seen. `unsettled`: files are being
    exchanged or packed at this moment, so what lies beyond can only be told later.

    A position that moved without events means: read on at once.
    """

    events: list[Event]
    after: Position
    behind: int = 0
    size: int = 0
    damage: list[Damage] = field(default_factory=list)
    gap: int | None = None
    at_end: bool = False
    unsettled: bool = False


def take(
    reader: EventReader, source: Source, start: Position, limits: Limits, *, final: bool
) -> Reading:
    """What `source` holds from `start` on; `after` is `start` itself if that is nothing.

    `final` says that nothing will be written there any more: an event that is torn then is damage,
    else its end is waited for. Raises Changed if `source` does not hold `start` (any more), and
    OSError.
    """
    size = _CHUNK
    # Asked before the content: if the log is copied and cut to nothing after it was read, the copy
    # must not be older than the place, or nobody would look for the rest in it.
    modified = source.modified()
    while True:
        found = source.read(start, size)
        if found is None:
            raise Changed(str(source.generation.path))
        seen, data = found
        at_end = len(data) < size
        context = start.context.copy()
        parsed, oversized = _read(reader, data, context, start, limits, final and at_end)
        if parsed.consumed or at_end:
            break
        if size >= MOST_EVENT_BYTES:
            parsed, oversized = _give_up(reader, data, context, "oversized"), True
            parsed.consumed -= _CLOSING_TAGS
            break
        size *= 4
    if not parsed.consumed:
        return Reading([], start, _pending(data))
    device, inode = source.identity
    offset = start.offset + parsed.consumed
    behind = _pending(data[parsed.consumed :]) if at_end else max(0, source.size() - offset)
    after = Position(
        modified=modified,
        device=device,
        inode=inode,
        offset=offset,
        fingerprint=seen.then(data[: parsed.consumed]).fingerprint(),
        oversized=oversized,
        finished=start.finished,
        context=context,
        behind=behind,
    )
    damage = [Damage(one.kind, start.offset + one.offset) for one in parsed.damage]
    return Reading(parsed.events, after, behind, parsed.consumed, damage)


def _read(
    reader: EventReader,
    data: bytes,
    context: Context,
    start: Position,
    limits: Limits,
    final: bool,
) -> tuple[Parsed, bool]:
    """What can be read of `data`, and whether the place after it is within an oversized event."""
    if start.oversized:
        end = data.find(END)
        if end >= 0:
            return Parsed(consumed=end + len(END)), False
        return Parsed(consumed=0 if final else max(0, len(data) - _CLOSING_TAGS)), True
    parsed = reader.read(data, context, limits, final=final)
    if final and not parsed.consumed and _START in data:
        return _give_up(reader, data, context, "unreadable"), False
    return parsed, False


def _pending(rest: bytes) -> int:
    """Bytes of events in `rest`; closing tags are none."""
    return len(rest) if _START in rest else 0


def _give_up(reader: EventReader, data: bytes, context: Context, kind: str) -> Parsed:
    """All of `data` as one unreadable event."""
    return Parsed([reader.unreadable(data, context)], len(data), [Damage(kind, 0)])
