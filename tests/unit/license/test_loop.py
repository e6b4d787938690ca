"""The license's root task in virtual time: four days in a second."""

import asyncio

import pytest

from tests.unit.license.loop_system import DAY, Postbox, System
from tests.unit.license.support import LoopClock

# Few idle cycles before time moves on: nothing here comes from outside but threads, which looptime
# waits for, and months are to pass in seconds.
pytestmark = pytest.mark.looptime(noop_cycles=4)


async def test_a_valid_license_passes_the_start_and_is_verified_again_each_day(
    system: System, postbox: Postbox
) -> None:
    """Verified at once, then on the timetable, and nobody is mailed."""
    async with system.node() as node:
        await asyncio.sleep(1)
        assert node.state == "valid"
        assert node.cleared == 1
        assert node.passed
        await asyncio.sleep(3 * DAY)
    assert len(system.cleo.license.requests) == 4
    assert postbox.mails == []


async def test_four_days_without_cleo_end_with_one_mail_of_each_kind_one_ticket_and_exit_77(
    system: System, postbox: Postbox
) -> None:
    """The whole grace period: the mails in order, one ticket, and the end after exactly 4 days."""
    system.cleo.license_network.down = True
    async with system.node() as node:
        await asyncio.sleep(60)
        assert node.state == "grace"
        assert node.passed
        await asyncio.sleep(4 * DAY)
        assert node.has_ended()
        assert node.exits[0][1].code == 77
        assert [signal.reason for _, signal in node.exits] == ["grace-over"]
        assert 4 * DAY < node.exits[0][0] < 4 * DAY + 45
    assert [s.split(":")[1].split(",")[0].strip() for s in postbox.subjects] == [
        "license not verified",
        "license still not verified",
        "license still not verified",
        "license still not verified",
        "license still not verified",
        "grace period over",
    ]
    assert list(system.cleo.ticket.tickets.values()) == ["IT-1000"]
    assert len(system.cleo.ticket.requests) == 1


async def test_a_refusal_at_the_first_start_ends_at_once_and_at_every_later_start(
    system: System, postbox: Postbox
) -> None:
    """Never verified and refused: exit 77 without grace, also while the service is away later."""
    system.cleo.license.answer = "revoked"
    async with system.node() as node:
        await asyncio.sleep(1)
        assert node.has_ended()
        assert node.exits[0][1].reason == "license-refused"
        assert not node.passed
    system.cleo.license_network.down = True
    async with system.node() as node:
        await asyncio.sleep(120)
        assert node.has_ended()
        assert not node.passed
    system.cleo.license_network.down = False
    system.cleo.license.answer = "valid"
    async with system.node() as node:
        await asyncio.sleep(1)
        assert node.state == "valid"
        assert node.cleared == 1


async def test_a_refusal_after_a_success_begins_the_grace_without_a_ticket(
    system: System, postbox: Postbox
) -> None:
    """A Harmony that ran on this license gets its four days, and Cleo gets no ticket."""
    async with system.node() as node:
        await asyncio.sleep(1)
        system.cleo.license.answer = "expired"
        await asyncio.sleep(DAY + 60)
        assert node.state == "grace"
        assert "expired" in str(node.status()["cause"])
        await asyncio.sleep(4 * DAY - 120)
        assert not node.has_ended()
        await asyncio.sleep(180)
        assert node.has_ended()
    assert system.cleo.ticket.tickets == {}


async def test_a_success_ends_the_grace_and_tells_the_administrator(
    system: System, postbox: Postbox
) -> None:
    """Verified again: valid, one mail more, and a later outage is a new one."""
    system.cleo.license_network.down = True
    async with system.node() as node:
        await asyncio.sleep(3600)
        system.cleo.license_network.down = False
        await asyncio.sleep(1200)
        assert node.state == "valid"
        assert node.status()["graceEnds"] is None
    assert postbox.subjects[-1].endswith("license verified again")
    assert len(postbox.mails) == 2


async def test_a_service_that_goes_away_after_a_success_leaves_the_license_valid(
    system: System, postbox: Postbox
) -> None:
    """Unreachable after a success is warned of, not punished, however long it takes."""
    async with system.node() as node:
        await asyncio.sleep(1)
        system.cleo.license_network.down = True
        await asyncio.sleep(6 * DAY)
        assert node.state == "valid"
        assert "not verified now" in str(node.status()["message"])
    assert postbox.mails == []


async def test_a_restart_in_grace_goes_on_where_it_was(system: System, postbox: Postbox) -> None:
    """Restarts neither begin the grace anew nor repeat a mail or the ticket."""
    system.cleo.license_network.down = True
    for _ in range(4):
        async with system.node() as node:
            await asyncio.sleep(DAY - 60)
            assert node.state == "grace"
    async with system.node() as node:
        await asyncio.sleep(300)
        assert node.has_ended()
    assert len(postbox.mails) == 6
    assert len(system.cleo.ticket.requests) == 1
    async with system.node() as node:
        await asyncio.sleep(60)
        assert node.has_ended()
    assert len(postbox.mails) == 6


async def test_a_step_of_the_wall_clock_neither_ends_nor_extends_the_grace(
    system: System, postbox: Postbox
) -> None:
    """Ten days forward or back while it runs, or between two runs of one boot: four days stay."""
    system.cleo.license_network.down = True
    clock = LoopClock()
    async with system.node(clock=clock) as node:
        await asyncio.sleep(DAY)
        clock.step = 10 * DAY
        await asyncio.sleep(DAY)
        assert node.state == "grace"
    async with system.node(clock=clock) as node:
        await asyncio.sleep(DAY)
        assert node.state == "grace"
        clock.step = -10 * DAY
    async with system.node(clock=clock) as node:
        await asyncio.sleep(DAY - 300)
        assert node.state == "grace"
        await asyncio.sleep(600)
        assert node.has_ended()
