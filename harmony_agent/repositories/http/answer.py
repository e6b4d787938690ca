"""An HTTP/1.1 answer, read from bytes that come in any pieces (RFC 9112); pure.

What is not clear is refused, never guessed: two readings of where an answer ends would give one
request's answer to another.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["CUT_OFF", "HEAD_LIMIT", "AnswerParser", "Head", "NotHttp"]

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of a head, of the line before a chunk, of all that follows the last chunk."""

CUT_OFF: Final = "closed in the middle of an exchange"
"""What ConnectionResetError says where an answer breaks off."""

_BEGINNING: Final = b"HTTP/1."
_STATUS: Final = re.compile(r"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: .*)?")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TEXT: Final = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])  # what a line may be made of
_FOLD: Final = re.compile(rb"\r\n[ \t]+")


class NotHttp(Exception):
    """The other side does not speak HTTP, or not so that there is but one way to read it."""


@dataclass(frozen=True, slots=True)
class Head:
    """An answer without its body; the names of headers are in lower case. The values of one that
    comes several times are joined by commas."""

    status: int
    headers: Mapping[str, str]


class AnswerParser:
    """The answer to one request. After NotHttp it is of no more use."""

    __slots__ = ("_is_chunked", "_keeps", "_left", "_method", "_rest", "head", "is_complete")

    def __init__(self, method: str) -> None:
        self._method = method
        self._rest = b""  # the beginning of what is not whole yet
        # Bytes of the body or chunk that are to come; None: as many as there are.
        self._left: int | None = 0
        self._is_chunked = False
        self._keeps = False
        self.head: Head | None = None
        """Of the final answer: 100 Continue and the like are left out."""
        self.is_complete = False
        """Whether all of the body was there."""

    @property
    def keeps(self) -> bool:
        """Whether another answer may follow on the connection: this one is complete, the server
        does not close, and sent nothing that was not asked for."""
        return self.is_complete and self._keeps and not self._rest

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of the body in `data`, which follows what was fed before.

        Raises NotHttp.
        """
        if self.is_complete:
            self._rest += data
            return []
        if self._rest:
            data, self._rest = self._rest + data, b""
        if self.head is None:
            data = self._after_head(data)
            if self.head is None:
                return []
        if self._is_chunked:
            return self._chunks(data)
        return self._plain(data)

    def end(self) -> None:
        """The connection has ended. Raises ConnectionResetError if that cut the answer off."""
        if not self.is_complete:
            if self.head is None or self._left is not None:
                raise ConnectionResetError(CUT_OFF)
            self.is_complete = True

    def _after_head(self, data: bytes) -> bytes:
        """Take the head; what follows it, or nothing if it is not whole."""
        while self.head is None:
            if not data.startswith(_BEGINNING[: len(data)]):
                raise NotHttp("the answer does not begin like one")
            end = data.find(b"\r\n\r\n", 0, HEAD_LIMIT)
            if end < 0:
                if len(data) >= HEAD_LIMIT:
                    raise NotHttp("the head of the answer has no end")
                self._rest = data
                return b""
            self._take_head(data[:end])
            data = data[end + 4 :]
        return data

    def _take_head(self, block: bytes) -> None:
        first, *lines = _lines(block)
        found = _STATUS.fullmatch(first)
        if not found:
            raise NotHttp("the answer has no status")
        status = int(found[2])
        headers = _fields(lines)
        if status >= 200:
            self._begin_body(status, headers)
            if found[1] == "0" or "close" in _words(headers.get("connection", "")):
                self._keeps = False
            self.head = Head(status, headers)
        elif status == 101:
            raise NotHttp("the server changes to a protocol that nobody asked for")

    def _begin_body(self, status: int, headers: Mapping[str, str]) -> None:
        """RFC 9112, 6.3."""
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        self._keeps = True
        is_tunnel = self._method == "CONNECT" and status < 300
        if self._method == "HEAD" or status in (204, 304) or is_tunnel:
            self.is_complete = True
        elif coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise NotHttp("the length of the answer can't be told")
            self._is_chunked = True
        elif length is not None:
            if not _LENGTH.fullmatch(length):
                raise NotHttp("the length of the answer can't be told")
            self._left = int(length)
            self.is_complete = not self._left
        else:
            self._left, self._keeps = None, False

    def _plain(self, data: bytes) -> list[bytes]:
        if self.is_complete:
            self._rest = data
            return []
        if self._left is not None:
            if len(data) > self._left:
                data, self._rest = data[: self._left], data[self._left :]
            self._left -= len(data)
            self.is_complete = not self._left
        return [data] if data else []

    def _chunks(self, data: bytes) -> list[bytes]:
        """`_left` counts the line's end behind a chunk as well; it is 0 before the next line."""
        pieces: list[bytes] = []
        place = 0
        while not self.is_complete:
            if not self._left:
                start = self._begin_chunk(data, place)
                if start is None:
                    break
                place = start
                continue
            piece = data[place : place + self._left]
            if not piece:
                break
            place += len(piece)
            content = piece[: max(self._left - 2, 0)]
            ending = piece[len(content) :]
            self._left -= len(piece)
            if ending and not b"\r\n"[: 2 - self._left].endswith(ending):
                raise NotHttp("a chunk of the answer is not as long as it says")
            if content:
                pieces.append(content)
        self._rest = data[place:]
        return pieces

    def _begin_chunk(self, data: bytes, place: int) -> int | None:
        """Where the chunk whose line begins at `place` starts, or None if that is not whole."""
        end = data.find(b"\r\n", place, place + HEAD_LIMIT)
        if end < 0:
            if len(data) - place >= HEAD_LIMIT:
                raise NotHttp("the size of a chunk has no end")
            return None
        found = _CHUNK.fullmatch(data, place, end)
        if not found:
            raise NotHttp("a chunk of the answer has no size")
        if size := int(found[1], 16):
            self._left = size + 2
            return end + 2
        return self._after_last(data, end)

    def _after_last(self, data: bytes, end: int) -> int | None:
        """Where the answer ends whose last chunk's line ends at `end`; its trailer tells us
        nothing."""
        close = data.find(b"\r\n\r\n", end, end + HEAD_LIMIT)
        if close < 0:
            if len(data) - end >= HEAD_LIMIT:
                raise NotHttp("the trailer of the answer has no end")
            return None
        if close > end:
            _fields(_lines(data[end + 2 : close]))
        self.is_complete = True
        return close + 4


def _lines(block: bytes) -> list[str]:
    """Raises NotHttp for characters that no line may hold, among them those that end lines for
    some readers only."""
    if b"\r\n " in block or b"\r\n\t" in block:
        first, end, rest = block.partition(b"\r\n")
        block = first + end + _FOLD.sub(b" ", rest)  # RFC 9112, 5.2
    lines = block.decode("latin-1").split("\r\n")
    if block.translate(None, _TEXT) != b"\r\n" * (len(lines) - 1):
        raise NotHttp("the head of the answer holds characters that it may not")
    return lines


def _fields(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise NotHttp("a header of the answer has no name")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _words(value: str) -> list[str]:
    return [word.strip(" \t") for word in value.lower().split(",")]
