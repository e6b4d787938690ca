"""An agent's HTTP side asked in memory."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from harmony_agent.lifecycle.health import Health
from harmony_agent.web.app import build_apps
from harmony_agent.web.parts import Parts, Search

Client = Callable[..., httpx.AsyncClient]


async def nothing_found(params: Mapping[str, str]) -> Mapping[str, Any]:
    """A log system that holds nothing."""
    return {"totalResults": 0, "resources": [], "next": None}


@pytest.fixture
def health() -> Health:
    """A health of which nothing has been told yet."""
    return Health()


@pytest.fixture
def client(health: Health) -> Client:
    """Makes a client of the application for TCP, or of the one for the control socket."""

    def make(
        *,
        control: bool = False,
        peer: str = "127.0.0.1",
        search: Search = nothing_found,
        **parts: Any,
    ) -> httpx.AsyncClient:
        given = {"health": health, "search": search, "token": lambda: None, **parts}
        apps = build_apps(Parts(**given))
        transport = httpx.ASGITransport(
            apps[1] if control else apps[0], client=(peer, 50000), raise_app_exceptions=True
        )
        return httpx.AsyncClient(transport=transport, base_url="http://localhost:8090")

    return make
