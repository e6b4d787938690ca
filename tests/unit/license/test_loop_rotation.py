"""The license's root task and a license that is exchanged, or learned from the service."""

import asyncio

import pytest

from tests.unit.license.loop_system import DAY, MAIL, Postbox, System
from tests.unit.license.support import license_settings

# Few idle cycles before time moves on: nothing here comes from outside but threads, which looptime
# waits for, and months are to pass in seconds.
pytestmark = pytest.mark.looptime(noop_cycles=4)


async def test_a_new_license_starts_afresh_and_is_verified_at_once(
    system: System, postbox: Postbox
) -> None:
    """Rotating the license in the third day of grace ends the grace."""
    system.cleo.license.answer = "expired"
    async with system.node("node-0", repository=lambda: None) as node:
        await asyncio.sleep(1200)
        assert node.state == "grace"
        system.cleo.license.answer = "valid"
        node.loop.rotate(license_settings(key=b"license.owner=ACME renewed"), MAIL)
        await asyncio.sleep(1)
        assert node.state == "valid"


async def test_a_mistake_in_a_new_license_does_not_stop_a_running_harmony_at_once(
    system: System, postbox: Postbox
) -> None:
    """The license was valid when it was replaced: a refusal of the new one begins a grace, which
    one more mistake does not prolong, and which ends with a license that is valid."""
    async with system.node() as node:
        await asyncio.sleep(60)
        system.cleo.license.answer = "invalid"
        node.loop.rotate(license_settings(code="another-code"), MAIL)
        await asyncio.sleep(60)
        ends = node.status()["graceEnds"]
        await asyncio.sleep(DAY)
        node.loop.rotate(license_settings(code="one-more-code"), MAIL)
        await asyncio.sleep(60)
        assert node.state == "grace"
        assert node.status()["graceEnds"] == ends
        system.cleo.license.answer = "valid"
        node.loop.rotate(license_settings(code="the-right-code"), MAIL)
        await asyncio.sleep(60)
        assert node.state == "valid"


async def test_the_serial_that_the_service_answers_is_taken(
    system: System, postbox: Postbox
) -> None:
    """Without a configured serial null is sent, and the answered one is known from then on."""
    settings = license_settings(serial=None)
    async with system.node(settings=settings) as node:
        await asyncio.sleep(1)
        assert node.loop.serial == "HC1234-ZZ5678"
    assert system.cleo.license.requests[0]["serial"] is None
    system.cleo.license_network.down = True
    async with system.node(settings=settings) as node:
        await asyncio.sleep(60)
        assert node.loop.serial == "HC1234-ZZ5678"
