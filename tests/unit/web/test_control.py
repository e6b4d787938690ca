"""`POST /control/<command>`."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from harmony_agent.core.errors import Refused
from tests.unit.web.conftest import Client


async def _echo(arguments: dict[str, Any]) -> Mapping[str, Any]:
    return {"got": arguments}


async def _refuse(arguments: dict[str, Any]) -> Mapping[str, Any]:
    raise Refused("configuration sync is switched off")


async def test_a_command_gets_its_arguments_and_its_answer_comes_back(client: Client) -> None:
    """JSON object in, JSON object out; an empty body is an empty object."""
    async with client(control=True, commands={"sync": _echo}) as agent:
        answer = await agent.post("/control/sync", json={"dryRun": True})
        assert answer.json() == {"got": {"dryRun": True}}
        assert (await agent.post("/control/sync")).json() == {"got": {}}


async def test_a_command_that_fails_tells_why(client: Client) -> None:
    """The error's own words come back under the status of its type."""
    async with client(control=True, commands={"sync": _refuse}) as agent:
        answer = await agent.post("/control/sync")
    assert answer.status_code == 502
    assert answer.json() == {"message": "configuration sync is switched off"}


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 2000])
async def test_a_body_that_is_no_object_is_a_wrong_request(client: Client, body: bytes) -> None:
    """The command is not run."""
    async with client(control=True, commands={"sync": _refuse}) as agent:
        answer = await agent.post("/control/sync", content=body)
    assert answer.status_code == 400
    assert "body" in answer.json()["message"]


async def test_a_body_too_large_is_not_read_to_its_end(client: Client) -> None:
    """An endless body ends as 400."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 10_000

    async with client(control=True, commands={"sync": _echo}) as agent:
        answer = await agent.post("/control/sync", content=endless())
    assert answer.status_code == 400
    assert "65536 bytes" in answer.json()["message"]


async def test_over_tcp_there_is_no_command_at_all(client: Client) -> None:
    """Not even with the token, from loopback, with any method."""
    headers = {"Authorization": "Bearer the-token"}
    async with client(commands={"sync": _echo}, token=lambda: "the-token") as agent:
        for method in ("GET", "POST", "PUT", "OPTIONS"):
            answer = await agent.request(method, "/control/sync", headers=headers)
            assert answer.status_code == 404


async def test_a_command_is_never_run_by_get(client: Client) -> None:
    """Looking at an address must not do anything."""
    async with client(control=True, commands={"sync": _echo}) as agent:
        assert (await agent.get("/control/sync")).status_code == 405


async def test_a_command_may_have_parts(client: Client) -> None:
    """`conflicts/list` is a route of its own."""
    async with client(control=True, commands={"conflicts/list": _echo}) as agent:
        assert (await agent.post("/control/conflicts/list")).json() == {"got": {}}
        assert (await agent.post("/control/conflicts")).status_code == 404
