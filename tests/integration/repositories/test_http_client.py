"""The HTTP client against servers that keep, stretch and break the protocol."""

import asyncio
import contextlib
import gc
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures.tls import TestAuthority
from harmony_agent.core.tls import client_context
from harmony_agent.repositories.http.answer import NotHttp
from harmony_agent.repositories.http.client import HttpClient, Unreached
from harmony_agent.repositories.http.connection import PIECE, Stream
from harmony_agent.repositories.http.proxy import ProxyError
from harmony_agent.repositories.limits import PARALLEL
from tests.integration.repositories.scripted import answer, request, scripted

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the machine's own."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextmanager
def client_of(url: str) -> Iterator[HttpClient]:
    """A client, closed at the end."""
    client = HttpClient(url, client_context())
    try:
        yield client
    finally:
        client.close()


async def counting(reader: StreamReader, writer: StreamWriter) -> None:
    """Answers every request of a connection with its target."""
    while True:
        first, headers = await request(reader)
        await reader.readexactly(int(headers.get("content-length", "0")))
        writer.write(answer(first.split(" ")[1].encode()))


async def test_one_connection_serves_one_request_after_the_other() -> None:
    """Connecting is paid for once."""
    async with scripted(counting) as server:
        with client_of(server.url) as client:
            for number in range(5):
                found = await client.ask("PUT", f"/{number}", {}, b"x" * number)
                assert (found.status, found.body) == (200, f"/{number}".encode())
        assert server.connections == 1


async def test_a_crowd_shares_a_bounded_number_of_connections() -> None:
    """More callers than connections wait for one another."""
    async with scripted(counting) as server:
        with client_of(server.url) as client:
            found = await asyncio.gather(
                *(client.ask("GET", f"/{number}", {}) for number in range(PARALLEL * 4))
            )
            assert [one.body for one in found] == [
                f"/{number}".encode() for number in range(PARALLEL * 4)
            ]
        assert server.connections <= PARALLEL


async def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    """It shows before anything is sent, so that the next request is no gamble."""

    async def once(reader: StreamReader, writer: StreamWriter) -> None:
        await request(reader)
        writer.write(answer(b"one"))
        await writer.drain()

    async with scripted(once) as server:
        with client_of(server.url) as client:
            for _ in range(3):
                assert (await client.ask("GET", "/", {})).body == b"one"
                await asyncio.sleep(0.05)  # the end of the connection arrives
        assert server.connections == 3


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "closed in the middle"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "closed in the middle"),
        (answer(b"whole body")[:-3], "closed in the middle"),
    ],
    ids=["nothing", "half a head", "half a body"],
)
async def test_an_answer_that_breaks_off_is_a_broken_connection(sent: bytes, words: str) -> None:
    """A short body is never taken for a whole one."""

    async def broken(reader: StreamReader, writer: StreamWriter) -> None:
        await request(reader)
        writer.write(sent)
        await writer.drain()

    async with scripted(broken) as server:
        with client_of(server.url) as client, pytest.raises(ConnectionResetError, match=words):
            await client.ask("GET", "/", {})


async def test_what_is_no_http_is_told_as_that() -> None:
    """A wrong port may lead to anything."""

    async def ssh(reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await reader.read()

    async with scripted(ssh) as server:
        with client_of(server.url) as client, pytest.raises(NotHttp):
            await client.ask("GET", "/", {})


async def test_bodies_without_a_length_are_read_to_their_end() -> None:
    """Chunked, and ended by the end of the connection."""
    chunks = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    answers = iter(
        [
            b"1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n" + chunks,
            b"1.0 200 OK\r\n\r\nabcde",
        ]
    )

    async def lengthless(reader: StreamReader, writer: StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/" + next(answers))
        await writer.drain()

    async with scripted(lengthless) as server:
        with client_of(server.url) as client:
            for _ in range(2):
                assert (await client.ask("GET", "/", {})).body == b"abcde"


async def test_the_answer_to_a_head_has_no_body() -> None:
    """Though it names the length of one."""

    async def head(reader: StreamReader, writer: StreamWriter) -> None:
        for _ in range(2):
            await request(reader)
            writer.write(answer(content_length="7"))
            await writer.drain()

    async with scripted(head) as server:
        with client_of(server.url) as client:
            for _ in range(2):
                found = await client.ask("HEAD", "/", {})
                assert (found.headers["content-length"], found.body) == ("7", b"")
        assert server.connections == 1


async def pieces(number: int, sent: list[int] | None = None) -> AsyncIterator[bytes]:
    """So many pieces; `sent` gets the number of each that was asked for."""
    for count in range(number):
        if sent is not None:
            sent.append(count)
        yield b"x" * PIECE


async def test_a_head_never_goes_without_the_beginning_of_its_body() -> None:
    """Some servers take a head whose connection then breaks for an empty object."""
    first: list[bytes] = []

    async def breaking(reader: StreamReader, writer: StreamWriter) -> None:
        await request(reader)
        first.append(await reader.read(1))
        writer.transport.abort()

    async def slow() -> AsyncIterator[bytes]:
        await asyncio.sleep(0.05)
        assert server.connections == 1
        for _ in range(100):
            yield b"x" * PIECE

    async with scripted(breaking) as server:
        with client_of(server.url) as client, pytest.raises(ConnectionError):
            await client.ask("PUT", "/", {}, Stream(100 * PIECE, slow()))
    assert first == [b"x"]


async def test_a_long_body_arrives_whole() -> None:
    """In pieces of its own, and from one that is too long for a single write; each is a beat."""

    async def taking(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            _, headers = await request(reader)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # harmless, though nobody asked
            body = await reader.readexactly(int(headers["content-length"]))
            writer.write(answer(str(len(body)).encode()))
            await writer.drain()

    beats = []
    async with scripted(taking) as server:
        with client_of(server.url) as client:
            body = Stream(8 * PIECE, pieces(8))
            found = await client.ask("PUT", "/", {}, body, lambda: beats.append(1))
            assert int(found.body) == 8 * PIECE
            assert len(beats) >= 8
            long = b"y" * (3 * PIECE + 1)
            assert int((await client.ask("PUT", "/", {}, long)).body) == len(long)
        assert server.connections == 1


async def test_an_answer_in_the_middle_of_a_body_ends_the_sending() -> None:
    """The server has seen enough: what it says counts, even if it then closes the connection."""
    sent: list[int] = []

    async def full(reader: StreamReader, writer: StreamWriter) -> None:
        await request(reader)
        await reader.readexactly(PIECE)
        writer.write(answer(status="507 Insufficient Storage"))
        await writer.drain()
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            while await reader.read(PIECE):
                pass

    async with scripted(full) as server:
        with client_of(server.url) as client:
            found = await client.ask("PUT", "/", {}, Stream(4096 * PIECE, pieces(4096, sent)))
    assert found.status == 507
    assert len(sent) < 4096


async def test_a_source_that_fails_breaks_the_connection_off() -> None:
    """The server must not take what it got for the whole; the error comes through."""
    seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def taking(reader: StreamReader, writer: StreamWriter) -> None:
        await request(reader)
        try:
            await reader.readexactly(4 * PIECE)
        except (asyncio.IncompleteReadError, ConnectionError):
            seen.set_result(1)

    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * PIECE
        raise KeyError("disk")

    async with scripted(taking) as server:
        with client_of(server.url) as client:
            with pytest.raises(KeyError, match="disk"):
                await client.ask("PUT", "/", {}, Stream(4 * PIECE, failing()))
            assert await seen == 1
    gc.collect()  # an answer nobody looked at would be reported now


async def test_a_body_comes_in_pieces_as_it_is_read() -> None:
    """The server is held back while the reader is busy: memory stays flat."""
    written = 0

    async def large(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal written
        await request(reader)
        writer.write(answer(content_length=str(400 * PIECE)))
        for _ in range(400):
            writer.write(b"x" * PIECE)
            await writer.drain()
            written += 1

    async with scripted(large) as server:
        with client_of(server.url) as client:
            async with client.stream("GET", "/", {}) as found:
                first = await anext(found.pieces)
                for _ in range(200):
                    await asyncio.sleep(0)
                assert written < 200
                size = len(first)
                async for piece in found.pieces:
                    size += len(piece)
    assert size == 400 * PIECE


async def test_a_canceled_request_leaves_no_connection_to_others() -> None:
    """The late answer must not be taken for that to another request."""
    waiting = asyncio.Event()

    async def late(reader: StreamReader, writer: StreamWriter) -> None:
        first, _ = await request(reader)
        if "slow" in first:
            waiting.set()
            await reader.read()
            return
        writer.write(answer(b"mine"))
        await writer.drain()

    async with scripted(late) as server:
        with client_of(server.url) as client:
            slow = asyncio.create_task(client.ask("GET", "/slow", {}))
            await waiting.wait()
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            assert (await client.ask("GET", "/", {})).body == b"mine"


async def test_after_a_request_that_is_given_up_all_connections_are_new() -> None:
    """Each of the idle ones may be as dead, and would cost a whole time limit to find that out."""

    async def deaf_from_the_second_on(reader: StreamReader, writer: StreamWriter) -> None:
        await request(reader)
        await together.wait()
        writer.write(answer(b"one"))
        await reader.read()  # and nothing more

    together = asyncio.Barrier(4)
    async with scripted(deaf_from_the_second_on) as server:
        with client_of(server.url) as client:
            for connections in (4, 8):
                await asyncio.gather(*(client.ask("GET", "/", {}) for _ in range(4)))
                assert server.connections == connections
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await client.ask("GET", "/", {})


async def test_an_unresponsive_address_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent, so the outcome is certain."""

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    monkeypatch.setattr("harmony_agent.repositories.http.client.CONNECT", 0.05)
    with client_of("http://192.0.2.1") as client, pytest.raises(Unreached, match=r"0\.05 s"):
        await client.ask("GET", "/", {})


async def test_a_proxy_gets_the_whole_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the login that its URL names."""

    async def proxy(reader: StreamReader, writer: StreamWriter) -> None:
        first, headers = await request(reader)
        assert headers["host"] == "store.example.com:9000"
        writer.write(answer(f"{first} {headers['proxy-authorization']}".encode()))
        await writer.drain()

    async with scripted(proxy) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pass@127.0.0.1:{server.port}")
        monkeypatch.delenv("REQUEST_METHOD", raising=False)
        with client_of("http://store.example.com:9000") as client:
            found = await client.ask("GET", "/a", {})
    assert found.body == b"GET http://store.example.com:9000/a HTTP/1.1 Basic bWU6cGFzcw=="


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_tls_goes_through_a_proxys_tunnel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    """The certificate is the server's own, verified as ever; the proxy sees but a name."""
    authority = TestAuthority(tmp_path)
    tunnels: list[str] = []

    async def proxy(reader: StreamReader, writer: StreamWriter) -> None:
        first, _ = await request(reader)
        tunnels.append(first)
        there, back = await asyncio.open_connection("127.0.0.1", store.port)
        writer.write(f"HTTP/{version} 200 Connection established\r\n\r\n".encode())
        try:
            await asyncio.gather(passed(reader, back), passed(there, writer))
        finally:
            back.transport.abort()

    async def passed(source: StreamReader, target: StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(PIECE):
                target.write(data)
        target.close()

    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(authority.issue().chain_and_key)
    async with scripted(counting, trust) as store, scripted(proxy) as relay:
        monkeypatch.setenv("HTTPS_PROXY", relay.url)
        client = HttpClient(f"https://localhost:{store.port}", client_context(authority.bundle))
        for _ in range(2):
            assert (await client.ask("GET", "/through", {})).body == b"/through"
        client.close()
    assert tunnels == [f"CONNECT localhost:{store.port} HTTP/1.1"]


async def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the store, but the way to it is the trouble."""

    async def proxy(reader: StreamReader, writer: StreamWriter) -> None:
        await request(reader)
        writer.write(answer(status="403 Forbidden"))
        await writer.drain()

    async with scripted(proxy) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        told = pytest.raises(ProxyError, match=f"127.0.0.1:{server.port} answered 403 for store")
        with client_of("https://store.example.com") as client, told:
            await client.ask("GET", "/", {})
