"""What people and Prometheus see of a license's life."""

import asyncio
import math
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from harmony_agent.lifecycle.health import Level
from tests.unit.license.loop_system import DAY, Postbox, System
from tests.unit.license.support import START

pytestmark = pytest.mark.looptime(noop_cycles=4)


def metric(name: str, **labels: str) -> float:
    """A metric's present value."""
    value = REGISTRY.get_sample_value(f"harmony_agent_license_{name}", labels)
    assert value is not None, name
    return value


def states() -> set[str]:
    """The states that the metric tells; one at a time."""
    words = ("unverified", "valid", "grace", "over", "refused")
    return {word for word in words if metric("state", state=word) == 1}


async def test_metrics_and_status_follow_from_valid_through_grace_to_the_end(
    system: System, postbox: Postbox
) -> None:
    """State, last success, what is left of the grace, next attempt and deadline."""
    async with system.node() as node:
        await asyncio.sleep(60)
        assert states() == {"valid"}
        assert math.isnan(metric("grace_remaining_seconds"))
        assert abs(metric("last_success_timestamp_seconds") - START) < 10
        status = node.status()
        assert status["lastVerification"] == "2030-03-17T17:46:40Z"
        assert status["lastVerifiedBy"] == "node-0"
        assert status["nextAttempt"].startswith("2030-03-18T17:46")
        assert status["graceStarted"] is None
        system.cleo.license.answer = "expired"
        await asyncio.sleep(2 * DAY)
        assert states() == {"grace"}
        left = metric("grace_remaining_seconds")
        assert 3 * DAY - 1200 < left < 3 * DAY
        status = node.status()
        assert status["graceStarted"].startswith("2030-03-18T17:46")
        assert status["graceEnds"].startswith("2030-03-22T17:46")
        assert abs(status["graceRemainingSeconds"] - left) < 1200
        assert status["cause"] == "Cleo's license service says that the license is expired"
        assert "grace period until 2030-03-22T17:46" in status["message"]
        await asyncio.sleep(4 * DAY)
        assert states() == {"over"}
        conditions = {c.name: c.level for c in node.health.conditions()}
        assert conditions["license"] is Level.FAILED


async def test_attempts_mails_and_tickets_are_counted(system: System, postbox: Postbox) -> None:
    """By result, for alerts."""
    names = [
        ("verifications_total", "verified"),
        ("verifications_total", "cleo"),
        ("verifications_total", "customer"),
        ("verifications_total", "refused"),
        ("mails_total", "sent"),
        ("tickets_total", "opened"),
    ]

    def counts() -> list[float]:
        return [
            REGISTRY.get_sample_value(f"harmony_agent_license_{name}", {"result": result}) or 0.0
            for name, result in names
        ]

    before = counts()
    system.cleo.license.answer = "error"
    async with system.node():
        await asyncio.sleep(300)
        system.cleo.license_network.down = system.cleo.ticket_network.down = True
        await asyncio.sleep(1200)
        system.cleo.license_network.down, system.cleo.license.answer = False, "revoked"
        await asyncio.sleep(1200)
        system.cleo.license.answer = "valid"
        await asyncio.sleep(1200)
    verified, cleo, customer, refused, sent, opened = (
        after - former for after, former in zip(counts(), before, strict=True)
    )
    assert verified == 1
    assert cleo > 1
    assert customer >= 1
    assert refused >= 1
    assert (sent, opened) == (2, 1)


async def test_a_record_changed_by_hand_is_counted_as_an_alarm(
    system: System, postbox: Postbox, tmp_path: Path
) -> None:
    """And the node that verified the license itself is not impressed."""
    before = metric("record_alarms_total")
    async with system.node() as node:
        await asyncio.sleep(60)
        path = ".harmony-agent/license.json"
        forged = system.repository.files[path].replace(b"node-0", b"node-9")
        system.repository.overwrite(path, forged)
        await asyncio.sleep(DAY)
        assert node.state == "valid"
    assert metric("record_alarms_total") == before + 1
    assert b"node-9" not in system.repository.files[path]
