"""One HTTP/1.1 connection to a storage server: h11 knows the protocol, asyncio moves the bytes.

The connection belongs to one exchange at a time; `http_client` shares connections out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import h11

__all__ = ["PIECE", "Beat", "Connection", "Head", "Stream", "no_beat"]

PIECE: Final = 256 * 1024
"""Bytes that are read or written at once."""
_HEAD_LIMIT: Final = 64 * 1024

Beat = Callable[[], None]
"""Tells that a transfer makes progress, which renews its time limit."""


def no_beat() -> None:
    """For an exchange whose progress nobody watches."""


@dataclass(frozen=True, slots=True)
class Head:
    """An answer without its body; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stream:
    """A request's body of `size` bytes that comes in pieces."""

    size: int
    chunks: AsyncIterator[bytes]


class Connection:
    """Raises OSError where the connection breaks, and h11.ProtocolError where the other side does
    not speak HTTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)

    @property
    def reusable(self) -> bool:
        """Whether it is open and the last exchange is over."""
        return self._h11.our_state is h11.IDLE and not self._is_closed

    @property
    def _is_closed(self) -> bool:
        return self._writer.is_closing() or self._reader.at_eof()

    async def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Stream,
        beat: Beat,
    ) -> Head:
        """Send a request and return the head of its answer; `pieces` are its body."""
        size = len(body) if isinstance(body, bytes) else body.size
        named = [*headers.items(), ("content-length", str(size))]
        data = self._bytes_of(h11.Request(method=method, target=target, headers=named))
        if isinstance(body, bytes) and size <= PIECE:
            if body:
                data += self._bytes_of(h11.Data(data=body))
            self._writer.write(data + self._bytes_of(h11.EndOfMessage()))
            return await self._head()
        chunks = _slices(body) if isinstance(body, bytes) else body.chunks
        return await self._send_long(data, chunks, beat)

    async def _send_long(self, data: bytes, chunks: AsyncIterator[bytes], beat: Beat) -> Head:
        """Send a body after `data`, and stop as soon as an answer comes: the server does not want
        the rest.

        Without asking for leave (RFC 9110, 10.1.1): a head that goes alone makes an empty object on
        SeaweedFS 4 if the connection breaks before the first byte of the body.
        """
        answer = asyncio.ensure_future(self._head())
        try:
            try:
                await self._send_pieces(data, chunks, answer, beat)
            except ConnectionError:
                pass  # the reason may have come before the connection broke
            return await answer
        finally:
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # looked at, so that asyncio does not report it

    async def _send_pieces(
        self, data: bytes, chunks: AsyncIterator[bytes], answer: asyncio.Future[Head], beat: Beat
    ) -> None:
        async for chunk in chunks:
            self._writer.write(data + self._bytes_of(h11.Data(data=chunk)))
            data = b""
            await self._writer.drain()
            beat()
            if answer.done():
                return
        self._writer.write(data + self._bytes_of(h11.EndOfMessage()))

    async def _head(self) -> Head:
        while not isinstance(event := await self._next(), h11.Response):
            pass  # 100 Continue and the like
        headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        return Head(event.status_code, headers)

    async def pieces(self, beat: Beat) -> AsyncIterator[bytes]:
        """The body of the answer; afterwards the connection may be reusable."""
        while isinstance(event := await self._next(), h11.Data):
            beat()
            yield bytes(event.data)
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()

    async def _next(self) -> object:
        try:
            while (event := self._h11.next_event()) is h11.NEED_DATA:
                self._h11.receive_data(await self._reader.read(PIECE))
        except h11.RemoteProtocolError as error:
            if self._reader.at_eof():
                raise ConnectionResetError("closed in the middle of an exchange") from error
            raise
        return event

    def _bytes_of(self, event: Any) -> bytes:
        return self._h11.send(event) or b""

    def close(self) -> None:
        """Close at once; what was not sent is dropped."""
        self._writer.transport.abort()


async def _slices(data: bytes) -> AsyncIterator[bytes]:
    """`data` in pieces that do not fill the transport's buffer."""
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]
