"""Clients that mean no good, over real sockets."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from harmony_agent.web import connection
from harmony_agent.web.server import Server
from tests.integration.web.conftest import Run, over_tcp


async def _raw(server: Server, request: bytes) -> bytes:
    """Everything that comes back for these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(request)
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def _connections(server: Server) -> set[Any]:
    """The connections that the TCP side holds."""
    return set(server._servers[0].server_state.connections)


async def _until(condition: Callable[[], bool]) -> None:
    """Wait, at most ten seconds, until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def _get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", *headers, "Connection: close", "", ""]).encode()


@pytest.mark.parametrize(
    "headers",
    [
        ["Host: evil.example"],
        ["Host: evil.example:{port}"],
        ["Host: localhost.evil.example"],
        ["Host: 127.0.0.1", "X-Forwarded-For: 127.0.0.1"],
        ["Host: 127.0.0.1", "X-Forwarded-For: 10.0.0.7"],
        ["Host: localhost", "Forwarded: for=127.0.0.1"],
        ["Host: localhost", "X-Real-IP: 127.0.0.1"],
        ["Host: localhost", "Via: 1.1 proxy"],
        ["Host: localhost", "X_Forwarded_Host: localhost"],
    ],
)
async def test_a_loopback_peer_that_is_not_who_asks_gets_nothing(
    run: Run, headers: list[str]
) -> None:
    """A rebound name or a proxy on this machine: 403 on the wire."""
    async with run() as server:
        filled = [header.format(port=server.port) for header in headers]
        for path in ("/api/status", "/api/logs", "/api/openapi.json", "/", "/static/app.js"):
            answer = await _raw(server, _get(path, *filled))
            assert answer.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"\x00" * 100 + b"\r\n\r\n",
        b"EHLO scanner\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000,
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /api/logs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_ended_quietly(
    run: Run, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A port scan gets 4xx or nothing, leaves no line in the log, and the next probe is fine."""
    caplog.set_level(logging.INFO)
    async with run() as server:
        answer = await _raw(server, request_bytes)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        async with over_tcp(server) as client:
            assert (await client.get("/livez")).status_code == 200
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


async def test_a_client_that_never_finishes_its_request_is_ended(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither silence nor a byte now and then holds a connection beyond the patience."""
    monkeypatch.setattr(connection, "PATIENCE", 0.3)

    async def ended_after(server: Server, greeting: bytes, trickle: bytes) -> float:
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            writer.write(greeting)
            async with asyncio.timeout(5):
                reading = asyncio.create_task(reader.read())
                while not reading.done():
                    writer.write(trickle)
                    await asyncio.wait({reading}, timeout=0.05)
        finally:
            writer.close()
        return time.monotonic() - begun

    async with run() as server:
        for greeting, trickle in ((b"", b""), (b"GET /livez HTTP/1.1\r\nX: ", b"x")):
            assert await ended_after(server, greeting, trickle) < 3


async def test_a_client_that_does_not_read_its_answer_is_ended(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Megabytes for a client that never reads are given back after the patience."""
    monkeypatch.setattr(connection, "PATIENCE", 0.2)

    async def search(params: Any) -> dict[str, Any]:
        return {"totalResults": 1, "resources": ["x" * 30_000_000], "next": None}

    async with run(search=search) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as deaf:
            deaf.sendall(b"GET /api/logs HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await _until(lambda: len(_connections(server)) == 1)
            await _until(lambda: len(_connections(server)) == 0)


async def test_a_client_that_reads_slowly_gets_all_of_its_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow is not stuck: as long as it reads on, the answer comes to its end."""
    monkeypatch.setattr(connection, "PATIENCE", 0.2)

    async def search(params: Any) -> dict[str, Any]:
        return {"totalResults": 1, "resources": ["x" * 20_000_000], "next": None}

    async with run(search=search) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=65536)
        writer.write(_get("/api/logs", "Host: localhost"))
        received = 0
        begun = time.monotonic()
        while chunk := await reader.read(500_000):
            received += len(chunk)
            if time.monotonic() - begun < 1:
                await asyncio.sleep(0.02)
        writer.close()
        await writer.wait_closed()
    assert received > 20_000_000


async def test_a_search_longer_than_the_patience_is_waited_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits are for clients; an answer that takes us long is not their fault."""
    monkeypatch.setattr(connection, "PATIENCE", 0.1)

    async def search(params: Any) -> dict[str, Any]:
        await asyncio.sleep(0.5)
        return {"totalResults": 0, "resources": [], "next": None}

    async with run(search=search) as server, over_tcp(server) as client:
        assert (await client.get("/api/logs")).status_code == 200


async def test_a_flood_of_idle_connections_does_not_keep_the_kubelet_out(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection idle longest makes room; the probe is answered, and with 200."""
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 20)
    async with run() as server, AsyncExitStack() as stack:
        idle = []
        for _ in range(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            stack.callback(writer.close)
            idle.append(reader)
        async with over_tcp(server) as client:
            assert (await client.get("/livez")).status_code == 200
        async with asyncio.timeout(5):
            for reader in idle[:40]:  # the oldest were ended
                assert await reader.read() == b""
        assert len(_connections(server)) <= 21
