"""Four days of grace in virtual time beside a real Harmony stand-in below the real guard."""

import asyncio
from pathlib import Path

import pytest

from harmony_agent.license.loop import LicenseLoop, LicenseOver
from harmony_agent.lifecycle.exit import announce_exit, withdraw_exit
from harmony_agent.lifecycle.health import Health
from harmony_agent.lifecycle.signals import ExitSignal, SignalDirectory
from tests.system.agent_process import eventually
from tests.system.conftest import Node
from tests.unit.license.loop_system import MAIL, Postbox, postbox
from tests.unit.license.support import Cleo, LoopClock, MemoryRepository, license_settings

__all__ = ["postbox"]

pytestmark = [pytest.mark.server, pytest.mark.looptime(noop_cycles=4)]

DAY = 86400.0


async def test_four_days_of_grace_end_with_a_stopped_harmony(node: Node, postbox: Postbox) -> None:
    """Cleo's license service is away: Harmony starts, runs four days of the loop's clock, and is
    stopped with 77 at their end, and not before; one mail said that the grace began, and one
    ticket was opened."""
    layout, cleo, repository = node.layout, Cleo(), MemoryRepository()
    cleo.license_network.down = True
    layout.state.mkdir()
    layout.signals.mkdir()
    signals = SignalDirectory(layout.signals)
    health = Health(("license",), asyncio.get_running_loop().time)
    health.on_started = signals.tell_ready

    async def on_exit(signal: ExitSignal) -> None:
        announce_exit(signal, health, signals, None)

    loop = LicenseLoop(
        license_settings(),
        MAIL,
        system=layout.system,
        host=layout.host,
        state_dir=layout.state,
        ca_bundle=None,
        health=health,
        repository=lambda: repository,
        on_exit=on_exit,
        on_clear=lambda: withdraw_exit(health, signals),
        clock=LoopClock(),
        services=cleo.connect,
    )
    running = asyncio.create_task(loop.run())
    with node.harmony() as harmony:
        await asyncio.sleep(120)
        eventually((layout.signals / "running").exists, what="Harmony's start")
        await asyncio.sleep(4 * DAY - 300)
        assert harmony.poll() is None
        assert not signals.exit_told()
        await asyncio.sleep(300)
        with pytest.raises(LicenseOver) as over:
            await running
        assert over.value.signal.code == 77
        assert not health.harmony_may_run
        assert harmony.wait(30) == 77
    assert sum("license not verified" in subject for subject in postbox.subjects) == 1
    assert list(cleo.ticket.tickets.values()) == ["IT-1000"]
    assert "Harmony stopped" in Path(layout.home / "logs" / "Harmony.xml").read_text()
