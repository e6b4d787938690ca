"""Events as JSON, and copies of events that fit where the whole one does not."""

import json
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from harmony_agent.logs.event import Event

__all__ = ["milliseconds", "shortened", "split_text", "to_json"]

_MARK: Final = "... [shortened by harmony-agent]"


def to_json(values: Any) -> bytes:
    """`values` as JSON in UTF-8, also integers beyond 64 bits and lone surrogates."""
    try:
        return orjson.dumps(values)
    except TypeError:
        return json.dumps(values).encode()


@lru_cache(maxsize=256)  # as format_time
def milliseconds(moment: datetime) -> int:
    """Since the epoch."""
    return int(moment.timestamp() * 1000 + 0.5)


def shortened(event: Event, size: int) -> Event:
    """A copy of `event` whose texts take about `size` bytes as UTF-8 at most: message, command,
    attributes.

    Texts beyond their share are cut, and marked; the others stay whole. The id stays the same.
    """
    share = max(size // (len(event.attributes) + 2), len(_MARK))
    return replace(
        event,
        message=_cut(event.message, share),
        command=None if event.command is None else _cut(event.command, share),
        attributes={name: _cut(text, share) for name, text in event.attributes.items()},
    )


def split_text(text: str, size: int) -> list[str]:
    """`text` in pieces of at most `size` bytes as UTF-8 (at least 4), characters kept whole."""
    data = text.encode("utf-8", "replace")
    pieces, start = [], 0
    while len(data) - start > size:
        end = start + size
        while data[end] & 0xC0 == 0x80:  # the middle of a character
            end -= 1
        pieces.append(data[start:end])
        start = end
    pieces.append(data[start:])
    return [piece.decode() for piece in pieces]


def _cut(text: str, size: int) -> str:
    if len(text.encode("utf-8", "replace")) <= size:
        return text
    return split_text(text, max(size - len(_MARK), 4))[0] + _MARK
