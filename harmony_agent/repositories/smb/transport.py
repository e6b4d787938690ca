"""The bytes of a connection to an SMB server, moved by asyncio's loop.

smbprotocol has a thread that reads. What it brings changes threads twice before anybody has it, and
each change waits for Python's lock. Here the loop reads: it hands answers to its own requests over
at once (smb/calls.py), and everything else to smbprotocol's thread, as its own transport would.
"""

import asyncio
import contextlib
import logging
import queue
import time
from collections.abc import Callable
from typing import Final

from smbprotocol.exceptions import SMBException
from smbprotocol.structure import Structure
from smbprotocol.transport import Tcp

from harmony_agent.repositories.limits import CONNECT

__all__ = ["LoopTransport"]

_log = logging.getLogger(__name__)

_LENGTH: Final = 4  # bytes in front of each packet, [MS-SMB2] 2.1
_END: Final = b""  # how smbprotocol is told that the connection has ended


class LoopTransport(Tcp):  # type: ignore[misc]  # smbprotocol has no types
    """Takes the place of smbprotocol's transport `plain`. Its methods are for any thread except
    that of `loop`, unless they say so."""

    def __init__(self, plain: Tcp, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(plain.server, plain.port, plain.timeout)
        self.take: Callable[[bytes], bytes | None] = _all
        """Called in the loop with every packet; gives it back, decrypted, if it is smbprotocol's.
        SMBException ends the connection."""
        self.lost: Callable[[], None] = _nothing
        """Called in the loop when the connection has ended."""
        self._loop = loop
        self._stream: asyncio.Transport | None = None
        self._leaving: list[bytes] = []
        # Its bound is that of requests under way: answers only come to them.
        self._arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._silent_since = time.monotonic()

    def connect(self) -> None:
        """Connect. Raises ValueError if the server can't be reached."""
        super().connect()
        opening = self._loop.create_connection(
            lambda: _Packets(self._came, self._ended), sock=self._sock
        )
        made = asyncio.run_coroutine_threadsafe(opening, self._loop)
        self._stream, _ = made.result(CONNECT)

    def close(self) -> None:
        """End the connection; never raises or blocks, in the loop's thread neither."""
        self.connected = False
        self._arrived.put(_END)
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the process ends
            self._loop.call_soon_threadsafe(self._abort)

    def send(self, header: bytes | Structure) -> None:
        """Send a packet soon. smbprotocol's threads wait for the answer, so there is but one of
        each on its way."""
        packet = header.pack() if isinstance(header, Structure) else header
        self._loop.call_soon_threadsafe(self.post, packet)

    def post(self, packet: bytes) -> None:
        """The same for the loop's thread. What is sent in one turn of the loop goes together."""
        if not self._leaving:
            self._loop.call_soon(self._leave)
        self._leaving += (len(packet).to_bytes(_LENGTH, "big"), packet)

    def _leave(self) -> None:
        whole, self._leaving = b"".join(self._leaving), []
        if self._stream is not None and self.connected:
            self._stream.write(whole)

    def recv(self, timeout: float) -> bytes:
        """The next packet for smbprotocol, or nothing if the connection has ended. Raises
        TimeoutError after so many seconds without any packet at all."""
        while True:
            silent = time.monotonic() - self._silent_since
            if silent >= timeout:
                self._silent_since = time.monotonic()
                raise TimeoutError(f"nothing came for {silent:.1f} s")
            with contextlib.suppress(queue.Empty):
                return self._arrived.get(timeout=timeout - silent)

    def _came(self, packet: bytes) -> None:
        self._silent_since = time.monotonic()
        try:
            rest = self.take(packet)
        except SMBException as error:
            _log.warning("an SMB connection is ended", extra={"error": str(error)})
            self.close()
            return
        if rest is not None:
            self._arrived.put(rest)

    def _ended(self) -> None:
        self.connected = False
        self._arrived.put(_END)
        self.lost()

    def _abort(self) -> None:
        if self._stream is not None:
            self._stream.abort()
        elif self._sock is not None:
            self._sock.close()


class _Packets(asyncio.Protocol):
    """Cuts a stream into packets."""

    def __init__(self, came: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self._packet_came = came
        self._ended = ended
        self._buffer = bytearray()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) >= (body := start + _LENGTH):
            end = body + int.from_bytes(buffer[start:body], "big")
            if len(buffer) < end:
                break
            self._packet_came(bytes(memoryview(buffer)[body:end]))
            start = end
        del buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()


def _all(packet: bytes) -> bytes:
    return packet


def _nothing() -> None:
    pass
