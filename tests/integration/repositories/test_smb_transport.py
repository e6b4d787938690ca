"""The bytes of an SMB connection in asyncio's loop, over real sockets."""

import asyncio
import contextlib
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from smbprotocol.exceptions import SMBException
from smbprotocol.transport import Tcp

from harmony_agent.repositories.smb.transport import LoopTransport

pytestmark = pytest.mark.server

PACKETS = [b"a", b"bc" * 700, b"d" * 70_000, b"e"]


@dataclass
class Pair:
    """A transport that is connected, and the server's side of it."""

    transport: LoopTransport
    reader: StreamReader
    writer: StreamWriter

    async def send(self, packet: bytes) -> None:
        """Have the server send."""
        self.writer.write(framed(packet))
        await self.writer.drain()


def framed(packet: bytes) -> bytes:
    """With its length in front."""
    return len(packet).to_bytes(4, "big") + packet


@asynccontextmanager
async def connected() -> AsyncIterator[Pair]:
    """A pair, closed in the end."""
    accepted: asyncio.Future[tuple[StreamReader, StreamWriter]]
    accepted = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(
        lambda reader, writer: accepted.set_result((reader, writer)), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    transport = LoopTransport(Tcp("127.0.0.1", port, 5), asyncio.get_running_loop())
    ended = asyncio.Event()
    async with server:
        await asyncio.to_thread(transport.connect)
        transport.lost = ended.set
        reader, writer = await accepted
        try:
            yield Pair(transport, reader, writer)
        finally:
            transport.close()
            async with asyncio.timeout(60):
                await ended.wait()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def test_packets_arrive_whole_however_they_are_cut() -> None:
    """Byte by byte, several at once, and one larger than what is read at a time."""
    stream = b"".join(map(framed, PACKETS))
    for size in (1_111, len(stream)):
        async with connected() as pair:
            for start in range(0, len(stream), size):
                pair.writer.write(stream[start : start + size])
                await pair.writer.drain()
            for packet in PACKETS:
                assert await asyncio.to_thread(pair.transport.recv, 60) == packet


async def test_threads_and_the_loop_send_whole_packets() -> None:
    """Side by side; each arrives as it was sent."""
    async with connected() as pair:
        sending = [asyncio.to_thread(pair.transport.send, packet) for packet in PACKETS]
        for packet in PACKETS:
            pair.transport.post(packet)
        await asyncio.gather(*sending)
        arrived = []
        async with asyncio.timeout(60):
            for _ in range(2 * len(PACKETS)):
                size = int.from_bytes(await pair.reader.readexactly(4), "big")
                arrived.append(await pair.reader.readexactly(size))
        assert sorted(arrived) == sorted(PACKETS * 2)


async def test_what_is_taken_does_not_reach_smbprotocol() -> None:
    """The loop's own answers stay in the loop."""
    async with connected() as pair:
        taken: list[bytes] = []
        pair.transport.take = lambda packet: taken.append(packet) if packet == b"own" else packet
        for packet in (b"own", b"other"):
            await pair.send(packet)
        assert await asyncio.to_thread(pair.transport.recv, 60) == b"other"
        assert taken == [b"own"]


async def test_an_answer_that_is_refused_ends_the_connection() -> None:
    """Both who waits in the loop and smbprotocol's thread are told."""
    async with connected() as pair:

        def refuse(_: bytes) -> bytes:
            raise SMBException("a wrong signature")

        pair.transport.take = refuse
        await pair.send(b"x")
        assert await asyncio.to_thread(pair.transport.recv, 60) == b""
        assert not pair.transport.connected
        assert await pair.reader.read() == b""


async def test_the_end_of_the_connection_is_told() -> None:
    """When the server closes it, and when it is closed here while a thread waits."""
    async with connected() as pair:
        pair.writer.close()
        assert await asyncio.to_thread(pair.transport.recv, 60) == b""
    async with connected() as pair:
        waiting = asyncio.create_task(asyncio.to_thread(pair.transport.recv, 60))
        pair.transport.close()
        assert await waiting == b""


async def test_silence_is_told_once_per_limit() -> None:
    """smbprotocol then asks the server whether it is there, and waits as long again."""
    async with connected() as pair:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(pair.transport.recv, 0.05)
        await pair.send(b"late")
        assert await asyncio.to_thread(pair.transport.recv, 60) == b"late"


async def test_a_server_that_is_not_there_is_told_as_smbprotocol_does() -> None:
    """ValueError, which is translated."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        port = taken.getsockname()[1]
        transport = LoopTransport(Tcp("127.0.0.1", port, 5), asyncio.get_running_loop())
        with pytest.raises(ValueError, match="Failed to connect"):
            await asyncio.to_thread(transport.connect)
