"""What becomes of a connection whose server does not keep to its turn."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from harmony_agent.core.tls import client_context
from harmony_agent.repositories.http.client import HttpClient
from harmony_agent.repositories.http.connection import PIECE, Stream
from harmony_agent.repositories.http.proxy import ProxyError
from tests.integration.repositories.scripted import answer, request, scripted

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine's own."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


async def test_what_follows_an_answer_is_not_the_next_answer() -> None:
    """A server that sends two for one would give the second to whoever asks next."""

    async def twofold(reader: StreamReader, writer: StreamWriter) -> None:
        first, _ = await request(reader)
        writer.write(answer(first.encode()) + answer(b"somebody else's"))
        await reader.read()

    async with scripted(twofold) as server:
        with closing(HttpClient(server.url, client_context())) as client:
            for target in ("/a", "/b"):
                found = await client.ask("GET", target, {})
                assert found.body == f"GET {target} HTTP/1.1".encode()
        assert server.connections == 2


async def test_what_comes_unasked_spoils_a_connection() -> None:
    """It is closed as soon as a server speaks out of its turn."""
    asked = asyncio.Event()
    closed = asyncio.Event()

    async def chatty(reader: StreamReader, writer: StreamWriter) -> None:
        first, _ = await request(reader)
        writer.write(answer(first.encode()))
        await writer.drain()
        await asked.wait()
        writer.write(answer(b"unasked"))
        try:
            await reader.read()
        finally:
            closed.set()

    async with scripted(chatty) as server:
        with closing(HttpClient(server.url, client_context())) as client:
            await client.ask("GET", "/a", {})
            asked.set()
            async with asyncio.timeout(60):
                await closed.wait()
            assert (await client.ask("GET", "/b", {})).body == b"GET /b HTTP/1.1"
        assert server.connections == 2


async def endless() -> AsyncIterator[bytes]:
    """A body that never gets through."""
    while True:
        yield b"x" * PIECE


async def test_an_answer_reaches_a_sender_whose_server_takes_no_more() -> None:
    """Though the server does not even read on to let the sender finish."""
    over = asyncio.Event()

    async def full(reader: StreamReader, writer: StreamWriter) -> None:
        await request(reader)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of its read side
        await asyncio.sleep(0)
        writer.write(answer(status="507 Insufficient Storage"))
        await over.wait()

    async with scripted(full) as server:
        with closing(HttpClient(server.url, client_context())) as client:
            async with asyncio.timeout(60):
                found = await client.ask("PUT", "/", {}, Stream(1 << 40, endless()))
        over.set()
    assert found.status == 507


async def test_a_long_answer_leaves_a_usable_connection() -> None:
    """Also if reading had to wait in between; each piece of it is a beat."""
    beats: list[int] = []

    async def large(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            await request(reader)
            writer.write(answer(b"x" * (20 * PIECE)))
            await writer.drain()

    async with scripted(large) as server:
        with closing(HttpClient(server.url, client_context())) as client:
            for _ in range(2):
                found = await client.ask("GET", "/", {}, beat=lambda: beats.append(1))
                assert len(found.body) == 20 * PIECE
            async with client.stream("GET", "/", {}) as streamed:
                async for _ in streamed.pieces:
                    await asyncio.sleep(0)
            await client.ask("GET", "/", {})
            assert server.connections == 1
            async with client.stream("GET", "/", {}) as streamed:
                await anext(streamed.pieces)
            await client.ask("GET", "/", {})
            assert server.connections == 2
    assert len(beats) > 2


@pytest.mark.parametrize("said", [b"", b"SSH-2.0\r\n", b"HTTP/1.1 200"], ids=repr)
async def test_a_proxy_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """Not the store, but the way to it is the trouble; the store got nothing."""

    async def proxy(reader: StreamReader, writer: StreamWriter) -> None:
        await request(reader)
        writer.write(said)
        await writer.drain()

    async with scripted(proxy) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        told = pytest.raises(ProxyError, match=f"127.0.0.1:{server.port} gives no HTTP answer")
        with closing(HttpClient("https://store.example.com", client_context())) as client, told:
            await client.ask("GET", "/", {})
