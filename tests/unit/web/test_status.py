"""`GET /api/status`."""

from collections.abc import Mapping
from typing import Any

from harmony_agent import __version__
from harmony_agent.core.redaction import conceal
from harmony_agent.lifecycle.health import Health
from harmony_agent.web.status import Status
from tests.unit.web.conftest import Client


def _broken() -> Mapping[str, Any]:
    raise RuntimeError("hunter2-hunter2")


def test_status_is_health_and_every_parts_own_words() -> None:
    """Facts, the three states, all conditions and one section per part."""
    now = [100.0]
    health = Health(clock=lambda: now[0])
    health.trouble("log-system", "503")
    health.sections["license"] = lambda: {"state": "valid"}
    status = Status(health, {"system": "prod", "node": "harmony-0"}, clock=lambda: now[0])
    now[0] = 160.4
    assert status.gather() == {
        "version": __version__,
        "system": "prod",
        "node": "harmony-0",
        "uptimeSeconds": 60,
        "live": True,
        "started": False,
        "ready": False,
        "harmonyMayRun": True,
        "conditions": [
            {
                "name": "startup",
                "level": "failed",
                "message": "waiting for repositories, first-pull, license",
            },
            {"name": "log-system", "level": "trouble", "message": "503"},
        ],
        "license": {"state": "valid"},
    }


def test_trouble_leaves_the_agent_ready_and_live() -> None:
    """Only failed conditions count against readiness, only stalled loops against life."""
    now = [0.0]
    health = Health(startup_steps=(), clock=lambda: now[0])
    health.trouble("log-system", "503")
    health.register_loop("mirror", limit=1)
    status = Status(health, {})
    assert (status.gather()["ready"], status.gather()["live"]) == (True, True)
    now[0] = 2
    health.fail("draining", "told to")
    assert (status.gather()["ready"], status.gather()["live"]) == (False, False)


def test_a_part_that_fails_to_tell_does_not_hide_the_others() -> None:
    """Its section says so, without the error's words."""
    health = Health()
    health.sections["broken"] = _broken
    health.sections["sound"] = lambda: {"state": "ok"}
    gathered = Status(health, {}).gather()
    assert gathered["sound"] == {"state": "ok"}
    assert "log tells why" in gathered["broken"]["error"]
    assert "hunter2" not in str(gathered)


async def test_status_shows_no_secret(health: Health, client: Client) -> None:
    """Conditions and sections are starred, and nobody on the way may keep the answer."""
    conceal("hunter2-hunter2")
    health.trouble("smtp", "hunter2-hunter2 refused")
    health.sections["smtp"] = lambda: {"url": "smtp://u:hunter2-hunter2@mail"}
    async with client() as agent:
        answer = await agent.get("/api/status")
    assert "hunter2" not in answer.text
    assert answer.json()["smtp"] == {"url": "smtp://u:********@mail"}
    assert answer.headers["cache-control"] == "no-store"
