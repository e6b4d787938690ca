"""An HTTP server that does exactly what a test says, byte by byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

__all__ = ["Script", "answer", "request", "scripted"]

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What happens on one connection, which is closed afterwards."""


class Scripted:
    """The server's address, and how many connections it has seen."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def scripted(script: Script, trust: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """Serve each connection by `script`, over TLS if there is a certificate to show."""
    found = Scripted()
    under_way: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        under_way.add(asyncio.current_task())  # type: ignore[arg-type]  # it runs in a task
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has left
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=trust)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next round


async def request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """The next request's first line and headers; its body is left unread."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    return first, {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """An answer as it goes over the wire; an underscore in a header's name is a dash."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    named = {"content-length": str(len(body)), **given}
    lines = [f"{name}: {value}" for name, value in named.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body
