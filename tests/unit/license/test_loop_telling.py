"""What the license's root task tells the administrator and Cleo, and when."""

import asyncio

import pytest

from harmony_agent.core.errors import Unavailable
from harmony_agent.settings.model import MailSettings
from tests.unit.license.loop_system import DAY, MAIL, Postbox, System
from tests.unit.license.support import license_settings

# Few idle cycles before time moves on: nothing here comes from outside but threads, which looptime
# waits for, and months are to pass in seconds.
pytestmark = pytest.mark.looptime(noop_cycles=4)


async def test_without_the_repository_a_mail_goes_out_late_and_no_ticket_is_opened(
    system: System, postbox: Postbox
) -> None:
    """The administrator is told although no node can claim the mail; Cleo only once it is sure
    that this is one outage."""
    async with system.node() as node:
        await asyncio.sleep(1)
    system.repository.trouble = Unavailable("gone")
    system.cleo.license.answer = "busy"
    await asyncio.sleep(2 * DAY)
    async with system.node() as node:
        await asyncio.sleep(600)
        assert node.state == "grace"
        assert postbox.mails == []
        await asyncio.sleep(2 * 3600)
        assert len(postbox.mails) == 1
        assert system.cleo.ticket.tickets == {}
        system.repository.trouble = None
        await asyncio.sleep(3600)
        assert len(system.cleo.ticket.tickets) == 1
        assert node.status()["ticket"] == "IT-1000"
    assert len(postbox.mails) == 1
    await asyncio.sleep(1)


async def test_a_mail_server_that_is_down_gets_the_mail_once_it_is_back(
    system: System, postbox: Postbox
) -> None:
    """Mails are retried, and sent once."""
    system.cleo.license_network.down = True
    postbox.trouble = Unavailable("mail server away")
    async with system.node() as node:
        await asyncio.sleep(2 * 3600)
        assert "mail server away" in str(node.status()["errands"])
        postbox.trouble = None
        await asyncio.sleep(3600)
    assert len(postbox.mails) == 1


async def test_without_an_administrator_it_only_warns_until_settings_come(
    system: System, postbox: Postbox
) -> None:
    """A missing mail setting is no error, and setting it later is not too late."""
    system.cleo.license_network.down = True
    async with system.node(mail=MailSettings()) as node:
        await asyncio.sleep(3600)
        assert node.state == "grace"
        assert "HARMONY_AGENT_ADMIN_EMAIL" in str(node.status()["mailProblem"])
        node.loop.rotate(license_settings(), MAIL)
        await asyncio.sleep(300)
    assert len(postbox.mails) == 1


async def test_a_second_outage_is_mailed_anew(system: System, postbox: Postbox) -> None:
    """Each outage has its own mails, also if another node's success lay between."""
    system.cleo.license.answer = "revoked"
    system.repository.files.clear()
    async with system.node("node-0") as node:
        await asyncio.sleep(1)
        assert node.has_ended()
    system.cleo.license.answer = "valid"
    async with system.node("node-0") as node:
        await asyncio.sleep(1)
        for count in (1, 3):
            system.cleo.license.answer = "revoked"
            await asyncio.sleep(DAY)
            assert node.state == "grace"
            assert len([s for s in postbox.subjects if "grace period until" in s]) == count // 2 + 1
            system.cleo.license.answer = "valid"
            await asyncio.sleep(1200)
            assert node.state == "valid"


async def test_an_outage_that_follows_another_without_a_gap_is_mailed_anew(
    system: System, postbox: Postbox
) -> None:
    """A node that is refused while another is not: each of its outages is told."""
    async with system.node("node-0") as node:
        await asyncio.sleep(1)
        system.cleo.license.answer = "revoked"
        await asyncio.sleep(DAY)
        assert len(postbox.mails) == 1
        system.cleo.license.answer = "valid"
        async with system.node("node-1"):
            await asyncio.sleep(1)
            system.cleo.license.answer = "revoked"
            await asyncio.sleep(1200)
            assert node.state == "grace"
        started = [s for s in postbox.subjects if "grace period until" in s]
        assert len(started) == 2
