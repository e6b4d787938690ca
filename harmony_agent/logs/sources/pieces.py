"""Where events end: cuts the bytes of a log after each complete `</Event>`."""

import re
from itertools import accumulate
from typing import Final, NamedTuple

__all__ = ["END", "Pieces", "complete_pieces", "event_starts"]

END: Final = b"</Event>"

# Within these markup is text. An atom that is not closed yet hides whatever follows it.
_ATOM: Final = rb"<!\[CDATA\[.*?\]\]>|<!--.*?-->"
_OPEN_ATOM: Final = rb"<!\[CDATA\[|<!--"
_SCAN_END: Final = re.compile(rb"%b|(%b)|(</Event\s*>)" % (_ATOM, _OPEN_ATOM), re.DOTALL)
_SCAN_START: Final = re.compile(rb"%b|(<Event[\s>])" % _ATOM, re.DOTALL)


class Pieces(NamedTuple):
    """What lies before each end tag (the tag itself is left out), and the offset after the tag."""

    raws: list[bytes]
    ends: list[int]


def complete_pieces(data: bytes, most: int, *, final: bool = False) -> Pieces:
    """At most `most` pieces of `data`, each from the end of the one before to an end tag.

    What follows the last end tag is no piece: closing tags that will be written over, or an event
    that is not whole yet. An end tag within CDATA or a comment is text. `final` says that nothing
    will be written after `data`: CDATA that is open then will never be closed, and hides nothing.
    """
    if b"<!" in data:
        return _careful_pieces(data, most, final=final)
    raws = data.split(END, most)
    del raws[-1]  # the rest
    ends = list(accumulate([len(raw) + len(END) for raw in raws]))
    return Pieces(raws, ends)


def _careful_pieces(data: bytes, most: int, *, final: bool) -> Pieces:
    pieces = Pieces([], [])
    start = 0
    for found in _SCAN_END.finditer(data):
        if found.group(1) and not final:
            break
        if found.group(2):
            pieces.raws.append(data[start : found.start()])
            pieces.ends.append(found.end())
            start = found.end()
            if len(pieces.ends) == most:
                break
    return pieces


def event_starts(piece: bytes) -> list[int]:
    """Where `<Event` tags begin in a piece; more than one if an event was never finished."""
    return [found.start() for found in _SCAN_START.finditer(piece) if found.group(1)]
