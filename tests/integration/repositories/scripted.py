"""An HTTP server that does exactly what a test says, byte by byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fixtures.connections import Handler, tcp_server

__all__ = ["answer", "request", "scripted"]


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
async def scripted(script: Handler, trust: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """Serve each connection by `script`, over TLS if there is a certificate to show."""
    found = Scripted()

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        await script(reader, writer)

    async with tcp_server(counted, trust) as found.port:
        yield found


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
