"""A real server on free ports of loopback, with its control socket in a short directory."""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from harmony_agent.lifecycle.health import Health
from harmony_agent.web.parts import Parts
from harmony_agent.web.server import Server

Run = Callable[..., AbstractAsyncContextManager[Server]]


async def nothing_found(params: Mapping[str, str]) -> Mapping[str, Any]:
    """A log system that holds nothing."""
    return {"totalResults": 0, "resources": [], "next": None}


def has_ipv6() -> bool:
    """Whether ::1 can be listened on here."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def over_socket(path: Path) -> httpx.AsyncClient:
    """A client of a control socket."""
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    return httpx.AsyncClient(transport=transport, base_url="http://agent")


def over_tcp(server: Server, host: str = "127.0.0.1") -> httpx.AsyncClient:
    """A client of the TCP port."""
    return httpx.AsyncClient(base_url=f"http://{host}:{server.port}", trust_env=False)


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A directory whose path is short enough for a Unix socket, whatever pytest's own is."""
    with tempfile.TemporaryDirectory(prefix="ha-") as directory:
        yield Path(directory)


@pytest.fixture
def health() -> Health:
    """A health of which nothing has been told yet."""
    return Health()


@pytest.fixture
def run(health: Health, state_dir: Path) -> Run:
    """Runs a server while a block lasts."""

    @contextlib.asynccontextmanager
    async def running(
        bind: tuple[str, int] = ("127.0.0.1", 0), directory: Path = state_dir, **parts: Any
    ) -> AsyncIterator[Server]:
        given = {"health": health, "search": nothing_found, "token": lambda: None, **parts}
        server = Server(Parts(**given), bind, directory)
        await server.start()
        serving = asyncio.create_task(server.serve())
        try:
            yield server
        finally:
            await server.stop()
            await serving

    return running
