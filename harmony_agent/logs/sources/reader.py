"""From the bytes of a log to events."""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Final

from harmony_agent.logs.event import Event
from harmony_agent.logs.sources.local_time import LocalTime
from harmony_agent.logs.sources.markup import (
    NO_MARK,
    Markup,
    attributes_of,
    has_illegal,
    mark_of,
    quick_markup,
    replace_illegal,
    slow_markup,
)
from harmony_agent.logs.sources.message import message_of
from harmony_agent.logs.sources.pieces import Pieces, complete_pieces, event_starts
from harmony_agent.logs.sources.position import Context
from harmony_agent.logs.sources.severity import UNREADABLE, severity_of
from harmony_agent.logs.systems.interface import Limits

__all__ = ["Damage", "EventReader", "Parsed"]

log = logging.getLogger(__name__)

_MOST_UNREADABLE: Final = 64 * 1024  # characters of an unreadable event that are kept

# Bytes of an event's JSON besides its own text: keys, id, time, names. An estimate; a log system
# that finds a batch too large acknowledges a part of it.
_ENVELOPE: Final = 400

_LAST_OF_THREAD: Final = frozenset({"End", "Stop"})  # the Java API's name for it is Stop

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_HEAD: Final = re.compile(
    r"""<(Session|Run)\b((?:[^"'>]|"[^"]*"|'[^']*')*+)>""", re.DOTALL | re.ASCII
)
_SALVAGE: Final = re.compile(r'<Mark\b((?:[^"<>]*+"[^"<]*+")*+)')
_TAG: Final = re.compile(rb"<[^<>]*>")


@dataclass(frozen=True, slots=True)
class Damage:
    """Something in the log that should not be there: what, and at which byte offset."""

    kind: str  # "illegal-characters", "unreadable", "oversized": a metric's label
    offset: int


@dataclass(slots=True)
class Parsed:
    """Events, how many bytes they took, and what was wrong among them."""

    events: list[Event] = field(default_factory=list)
    consumed: int = 0
    damage: list[Damage] = field(default_factory=list)


class EventReader:
    """Makes events of one node; everything that changes from event to event is in the Context.

    `serial` is asked for each read: the license service may tell it while the agent runs.
    """

    def __init__(
        self, *, system: str, node: str, serial: Callable[[], str | None], zone: tzinfo | None
    ) -> None:
        self._system = system
        self._node = node
        self._serial_of = serial
        self._serial = serial()
        self._time = LocalTime(zone)
        self._run: str | None = None
        self._run_hash = hashlib.blake2b(digest_size=16)

    def read(self, data: bytes, context: Context, limits: Limits, *, final: bool = False) -> Parsed:
        """The complete events at the beginning of `data`, within `limits`; changes `context`.

        `data` begins after an event or at the top of a file. With `final` nothing will be written
        after it: CDATA that is open then is damage.
        """
        parsed = Parsed()
        self._serial = self._serial_of()
        raws, ends = _within(limits.size, complete_pieces(data, limits.entries, final=final))
        texts, damaged = _decode(data[: ends[-1]] if ends else b"", raws)
        for raw, text, end in zip(raws, texts, ends, strict=True):
            count = len(parsed.events)
            try:
                markup = quick_markup(text)
                if markup is None:
                    self._read_slowly(raw, context, parsed)
                else:
                    parsed.events.append(self._event(raw.lstrip(), markup, context))
            except Exception:
                # The last line of defense: one event must not hold up all that follow it.
                log.exception("a fault of the agent itself: an event is delivered as it stands")
                parsed.events[count:] = [self.unreadable(raw, context)]
                parsed.damage.append(Damage("unreadable", parsed.consumed))
            if damaged and "\ufffd" in text:
                parsed.damage.append(Damage("illegal-characters", parsed.consumed))
            parsed.consumed = end
        return parsed

    def unreadable(self, raw: bytes, context: Context) -> Event:
        """An event for bytes that can't be read as one: their text, and what its Mark tells."""
        text = _to_text(raw[: 4 * _MOST_UNREADABLE])[:_MOST_UNREADABLE]
        salvaged = _SALVAGE.search(text)
        mark = mark_of(salvaged[1]) if salvaged else NO_MARK
        return self._event(raw, (UNREADABLE, {}, text.strip(), mark), context)

    def _read_slowly(self, raw: bytes, context: Context, parsed: Parsed) -> None:
        """Read a piece of unusual form: heads before the event, torn events, other markup."""
        starts = event_starts(raw)
        before = raw[: starts[0]] if starts else raw
        torn = raw[starts[0] : starts[-1]] if starts else b""
        if not self._read_heads(_to_text(before), context) and _TAG.sub(b"", before).strip():
            torn = before + torn
        if torn:
            parsed.damage.append(Damage("unreadable", parsed.consumed))
            parsed.events.append(self.unreadable(torn, context))
        if not starts:
            return
        event = raw[starts[-1] :]
        markup = slow_markup(_to_text(event))
        if markup is None:
            parsed.damage.append(Damage("unreadable", parsed.consumed + starts[-1]))
            parsed.events.append(self.unreadable(event, context))
        else:
            parsed.events.append(self._event(event, markup, context))

    def _read_heads(self, markup: str, context: Context) -> bool:
        """Take what Session and Run tags say into `context`; whether there were any."""
        heads = _HEAD.findall(markup)
        for name, written in heads:
            attributes = attributes_of(written)
            if name == "Session":
                product = (attributes.get("product"), attributes.get("version"))
                context.product = " ".join(part for part in product if part)
                continue
            context.run = attributes.get("date", "")
            context.threads = {
                key[2:]: value
                for key, value in attributes.items()
                if key.startswith("TN") and key[2:].isdecimal()
            }
        return bool(heads)

    def _event(self, raw: bytes, markup: Markup, context: Context) -> Event:
        element, attributes, text, (date, ms, thread, command, number) = markup
        if element == "Thread" and thread is not None:
            context.name_thread(thread, attributes.get("action") or attributes.get("type", ""))
        event = Event(
            self._id(raw, context.run),
            self._moment(date or "", ms, context),
            self._system,
            self._node,
            self._serial,
            context.run,
            _number(number),
            context.threads.get(thread) if thread is not None else None,
            command,
            element,
            severity_of(element, attributes),
            message_of(element, attributes, text),
            attributes,
        )
        if element in _LAST_OF_THREAD and thread is not None:
            context.threads.pop(thread, None)
        return event

    def _id(self, raw: bytes, run: str) -> str:
        """Hash of system, node, run and the event's bytes, among them its EN."""
        if run != self._run:
            names = f"{self._system}\0{self._node}\0{run}"
            self._run, self._run_hash = run, hashlib.blake2b(names.encode(), digest_size=16)
        digest = self._run_hash.copy()
        digest.update(raw)
        return digest.hexdigest()

    def _moment(self, date: str, ms: str | None, context: Context) -> datetime:
        """Mark's time in UTC; without one that of the event before, else of the Run."""
        if date != context.date or context.moment is None:
            context.date = date
            context.moment = (
                self._time.to_utc(date, context.moment)
                or context.moment
                or self._time.to_utc(context.run, None)
                or _EPOCH
            )
        if ms is None:
            return context.moment
        return context.moment.replace(microsecond=min(_number(ms), 999) * 1000)


def _within(size: int, pieces: Pieces) -> Pieces:
    """As many of `pieces` as fit in `size` bytes of JSON, at least one."""
    total = 0
    for index, raw in enumerate(pieces.raws):
        total += 2 * len(raw) + _ENVELOPE  # attributes come again in the message
        if total > size and index > 0:
            return Pieces(pieces.raws[:index], pieces.ends[:index])
    return pieces


def _decode(block: bytes, raws: list[bytes]) -> tuple[list[str], bool]:
    """The pieces as text, and whether anything had to be replaced."""
    damaged = has_illegal(block)
    try:
        text = block.decode()
    except UnicodeDecodeError:
        damaged = True
    if damaged or b"<!" in block or b"\r" in block:  # unusual: piece by piece
        return [_to_text(raw) for raw in raws], damaged
    texts = text.split("</Event>")
    del texts[-1]
    return texts, False


def _to_text(raw: bytes) -> str:
    """`raw` as XML reads it: illegal characters replaced, line ends as one character."""
    text = replace_illegal(raw.decode("utf-8", "replace"))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _number(digits: str | None) -> int:
    """A number as Mark carries it; 0 if it is none that fits in 64 bits."""
    return int(digits) if digits and len(digits) <= 18 and digits.isdecimal() else 0
