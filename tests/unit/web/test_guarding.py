"""Which endpoints are guarded, on which side."""

import httpx
import pytest

from tests.unit.web.conftest import Client

GUARDED = ["/api/status", "/api/logs", "/api/openapi.json"]


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", [*GUARDED, "/", "/static/app.js"])
async def test_without_a_token_others_are_forbidden_and_told_what_to_do(
    client: Client, path: str
) -> None:
    """403 names the setting, and holds nothing else."""
    async with client(peer="10.0.0.7") as agent:
        answer = await agent.get(path)
    assert answer.status_code == 403
    assert "HARMONY_AGENT_API_TOKEN" in answer.json()["message"]


@pytest.mark.parametrize("path", GUARDED)
async def test_with_a_token_it_is_needed_from_everywhere(client: Client, path: str) -> None:
    """401 with the scheme a client has to use, also on loopback; 200 with the token."""
    async with client(token=lambda: "the-token") as agent:
        for headers in ({}, _bearer("another")):
            answer = await agent.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "the-token" not in answer.text
        assert (await agent.get(path, headers=_bearer("the-token"))).status_code == 200


async def test_a_rotated_token_counts_at_once(client: Client) -> None:
    """The token is asked for at each request."""
    current = ["first-token"]
    async with client(token=lambda: current[0]) as agent:
        assert (await agent.get("/api/status", headers=_bearer("first-token"))).is_success
        current[0] = "second-token"
        assert not (await agent.get("/api/status", headers=_bearer("first-token"))).is_success
        assert (await agent.get("/api/status", headers=_bearer("second-token"))).is_success


async def test_the_control_socket_needs_no_token(client: Client) -> None:
    """Its file mode guards it."""
    async with client(control=True, token=lambda: "the-token") as agent:
        for path in GUARDED:
            assert (await agent.get(path)).status_code == 200


async def test_what_is_not_there_is_told_alike(client: Client) -> None:
    """404 and 405 have Harmony's error shape; a slash too many is no redirect."""
    async with client() as agent:
        for answer, status in (
            (await agent.get("/nothing"), 404),
            (await agent.get("/api/status/"), 404),
            (await agent.post("/api/logs"), 405),
            (await agent.delete("/livez"), 405),
        ):
            assert answer.status_code == status
            assert isinstance(answer, httpx.Response)
            assert answer.json()["message"]
