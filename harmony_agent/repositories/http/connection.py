"""One HTTP/1.1 connection to a storage server.

The connection belongs to one exchange at a time; `http_client` shares connections out. It is the
loop's protocol itself, without streams between: an answer that comes in one piece wakes its caller
once.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from harmony_agent.repositories.http.answer import CUT_OFF, AnswerParser, Head, NotHttp
from harmony_agent.repositories.http.request import request_head

__all__ = ["PIECE", "Beat", "Connection", "Stream", "no_beat"]

PIECE: Final = 256 * 1024
"""Bytes that are read or written at once."""

Beat = Callable[[], None]
"""Tells that a transfer makes progress, which renews its time limit."""


def no_beat() -> None:
    """For an exchange whose progress nobody watches."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A request's body of `size` bytes that comes in pieces."""

    size: int
    chunks: AsyncIterator[bytes]


class Connection(asyncio.BufferedProtocol):
    """Raises OSError where the connection breaks, and NotHttp where the other side does not speak
    HTTP."""

    def __init__(self, buffer: memoryview) -> None:
        """`buffer` is for what has just arrived; the connections of one loop can share it. Without
        one the loop makes a new one of 256 KiB for every read, which takes longer than to read."""
        self._loop = asyncio.get_running_loop()
        self._buffer = buffer
        self._transport: asyncio.Transport
        self._answer: AnswerParser | None = None  # None before the first exchange
        self._is_sent = True
        self._is_stuffed = False  # with bytes that the server does not take
        self._pieces: deque[bytes] = deque()  # of the body, that nobody has read yet
        self._held = 0  # bytes in them
        self._is_paused = False  # until they are read
        self._error: Exception | None = None
        self._changed: asyncio.Future[None] | None = None

    @property
    def reusable(self) -> bool:
        """Whether it is open and the last exchange is over."""
        answer = self._answer
        is_over = answer is None or (answer.keeps and self._is_sent and not self._pieces)
        return is_over and self._error is None and not self._transport.is_closing()

    async def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Stream,
        beat: Beat,
    ) -> tuple[Head, bytes]:
        """Send a request and return its answer and all of that's body."""
        answer = await self._exchange(method, target, headers, body, beat)
        assert answer.head is not None
        if answer.is_complete:
            whole = b"".join(self._pieces)
            self._forget_pieces()
        else:
            whole = b"".join([piece async for piece in self.pieces(beat)])
        return answer.head, whole

    async def exchange(self, method: str, target: str, headers: Mapping[str, str]) -> Head:
        """Send a request without a body and return the head of its answer; `pieces` are its
        body."""
        answer = await self._exchange(method, target, headers, b"", no_beat)
        assert answer.head is not None
        return answer.head

    async def pieces(self, beat: Beat) -> AsyncIterator[bytes]:
        """The body of the answer; afterwards the connection may be reusable."""
        assert self._answer is not None, "exchange() comes first"
        while True:
            while self._pieces:
                beat()
                yield self._pieces.popleft()
            self._forget_pieces()
            if self._answer.is_complete:
                return
            await self._change()

    def _forget_pieces(self) -> None:
        self._pieces.clear()
        self._held = 0
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    async def _exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Stream,
        beat: Beat,
    ) -> AnswerParser:
        """The answer as soon as its head is there."""
        size = len(body) if isinstance(body, bytes) else body.size
        named = headers if method == "CONNECT" else {**headers, "content-length": str(size)}
        head = request_head(method, target, named)
        self._answer = answer = AnswerParser(method)
        if isinstance(body, bytes) and size <= PIECE:
            self._transport.write(head + body)
        else:
            chunks = _slices(body) if isinstance(body, bytes) else body.chunks
            await self._send_long(head, chunks, answer, beat)
        while answer.head is None:
            await self._change()
        return answer

    async def _send_long(
        self, data: bytes, chunks: AsyncIterator[bytes], answer: AnswerParser, beat: Beat
    ) -> None:
        """Send a body after `data`, and stop as soon as an answer comes: the server does not want
        the rest.

        Without asking for leave (RFC 9110, 10.1.1): a head that goes alone makes an empty object on
        SeaweedFS 4 if the connection breaks before the first byte of the body.
        """
        self._is_sent = False
        async for chunk in chunks:
            self._transport.write(data + chunk)
            data = b""
            while answer.head is None and (self._is_stuffed or self._error):
                await self._change()
            beat()
            if answer.head is not None:
                return
        self._transport.write(data)
        self._is_sent = True

    async def _change(self) -> None:
        """Wait until something happens; raises what broke the connection."""
        if self._error:
            raise self._error
        self._changed = self._loop.create_future()
        try:
            await self._changed
        finally:
            self._changed = None

    def _wake(self) -> None:
        if self._changed and not self._changed.done():
            self._changed.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BufferedProtocol, as the others."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The same for all: `buffer_updated` empties it at once."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """An answer's next bytes; where there is nothing to answer, the connection is spoilt."""
        answer, data = self._answer, bytes(self._buffer[:nbytes])
        if answer is None or answer.is_complete:
            self.close()
            return
        try:
            pieces = answer.feed(data)
        except NotHttp as error:
            self._error = error
            self.close()
        else:
            if pieces:
                self._pieces += pieces
                self._held += len(data)
                if self._held > 2 * PIECE and not self._is_paused:
                    self._is_paused = True
                    self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The end of an answer whose length nobody told, or of one that is cut off. The transport
        closes."""
        try:
            if self._answer:
                self._answer.end()
        except ConnectionResetError as error:
            self._error = error
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for ever: without an end before, what has come is not the whole."""
        self._error = self._error or exc or ConnectionResetError(CUT_OFF)
        self._wake()

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._is_stuffed = True

    def resume_writing(self) -> None:
        """It is not any more."""
        self._is_stuffed = False
        self._wake()

    async def start_tls(self, trust: ssl.SSLContext, host: str) -> None:
        """Go on in TLS, with the server that answered last and calls itself `host`."""
        transport = await self._loop.start_tls(self._transport, self, trust, server_hostname=host)
        if transport is None:
            raise ConnectionResetError(CUT_OFF)
        self._transport = transport
        self._answer = None

    def close(self) -> None:
        """Close at once; what was not sent is dropped."""
        self._transport.abort()


async def _slices(data: bytes) -> AsyncIterator[bytes]:
    """`data` in pieces that do not fill the transport's buffer."""
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]
