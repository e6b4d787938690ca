"""Mails, tickets and what is left of them, in virtual time."""

import asyncio

import orjson
import pytest

from harmony_agent.core.errors import Unavailable
from harmony_agent.settings.model import MailSettings
from tests.unit.license.loop_system import DAY, Postbox, System

pytestmark = pytest.mark.looptime(noop_cycles=4)

REFUSED = "license refused, Harmony does not start"


async def test_a_license_refused_at_the_first_start_is_mailed_once_per_system(
    system: System, postbox: Postbox
) -> None:
    """Three nodes that Kubernetes starts again and again: one mail, then one that all is well."""
    system.cleo.license.answer = "revoked"
    system.cleo.license.message = "ask sales"
    for _ in range(3):
        for name in ("node-0", "node-1", "node-2"):
            async with system.node(name) as node:
                await asyncio.sleep(20)
                assert node.has_ended()
    (subject,) = postbox.subjects
    assert subject.endswith(REFUSED)
    body = postbox.mails[0].get_body(("plain",))
    assert body is not None
    assert "ask sales" in body.as_string()
    system.cleo.license.answer = "valid"
    for name in ("node-0", "node-1"):
        async with system.node(name):
            await asyncio.sleep(20)
    assert [s.rpartition(": ")[2] for s in postbox.subjects] == [REFUSED, "license verified again"]


@pytest.mark.parametrize("answer", ["revoked", "error"])
async def test_without_a_repository_no_start_of_a_stopped_agent_mails_again(
    system: System, postbox: Postbox, answer: str
) -> None:
    """A node on its own remembers what is out: a crash loop at the end is no flood of mails."""
    system.cleo.license.answer = answer
    async with system.node(alone=True) as node:
        await asyncio.sleep(5 * DAY)
        assert node.has_ended()
    mails = len(postbox.mails)
    for _ in range(5):
        async with system.node(alone=True) as node:
            await asyncio.sleep(60)
            assert node.has_ended()
    assert len(postbox.mails) == mails


async def test_the_last_mail_does_not_wait_for_a_repository_that_is_away(
    system: System, postbox: Postbox
) -> None:
    """The process ends within seconds: told without a claim is better than not told."""
    system.cleo.license_network.down = True
    async with system.node() as node:
        await asyncio.sleep(3 * DAY)
        system.repository.trouble = Unavailable("gone")
        await asyncio.sleep(DAY + 60)
        assert node.has_ended()
    assert postbox.subjects[-1].endswith("grace period over, Harmony is being stopped")
    mails = len(postbox.mails)
    async with system.node() as node:
        await asyncio.sleep(120)
        assert node.has_ended()
    assert len(postbox.mails) == mails


async def test_a_mail_server_that_is_down_at_the_end_gets_the_mail_at_a_later_start(
    system: System, postbox: Postbox
) -> None:
    """What could not be sent within the last seconds is not taken for sent."""
    system.cleo.license.answer = "invalid"
    postbox.trouble = Unavailable("mail server away")
    async with system.node() as node:
        await asyncio.sleep(60)
        assert node.has_ended()
        assert node.ended is not None
    postbox.trouble = None
    async with system.node() as node:
        await asyncio.sleep(60)
        assert node.has_ended()
    assert len(postbox.mails) == 1


async def test_a_missing_mail_setting_is_told_at_the_start(
    system: System, postbox: Postbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Long before there is something to mail."""
    async with system.node(mail=MailSettings(administrator="ops@example.com")) as node:
        await asyncio.sleep(60)
        assert node.state == "valid"
        assert "HARMONY_AGENT_SMTP_URL; nobody hears of trouble" in caplog.text


async def test_a_refusal_without_mail_settings_only_warns(
    system: System, postbox: Postbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Ends with 77 all the same."""
    system.cleo.license.answer = "expired"
    async with system.node(mail=MailSettings()) as node:
        await asyncio.sleep(1)
        assert node.has_ended()
    assert "HARMONY_AGENT_ADMIN_EMAIL" in caplog.text


async def test_the_ticket_service_is_left_alone_for_as_long_as_it_asks(
    system: System, postbox: Postbox
) -> None:
    """Retry-After: 3600 keeps the agent away for an hour; one of a month does not for longer than
    some hours of the four days."""
    system.cleo.license.answer = "error"
    tickets = system.cleo.ticket
    tickets.fail, tickets.retry_after = 503, "3600"
    async with system.node() as node:
        await asyncio.sleep(3500)
        assert tickets.refused == 1
        await asyncio.sleep(200)
        assert tickets.refused == 2
        tickets.retry_after = str(30 * 86400)
        await asyncio.sleep(3600)
        assert tickets.refused == 3
        tickets.fail = 0
        await asyncio.sleep(6 * 3600)
        assert node.status()["ticket"] == "IT-1000"


async def test_status_tells_what_was_mailed_and_opened_and_by_whom(
    system: System, postbox: Postbox
) -> None:
    """The history outlives the outage and the process; another node's mails are in it, too, and
    its ticket is known."""
    system.cleo.license.answer = "error"
    async with system.node("node-0") as first, system.node("node-1") as second:
        await asyncio.sleep(DAY + 600)
        told = second.status()["history"]
        assert first.status()["ticket"] == second.status()["ticket"] == "IT-1000"
        tickets = [
            entry for entry in (*told, *first.status()["history"]) if entry["what"] == "ticket"
        ]
    assert {"grace-started", "reminder-1"} <= {entry["what"] for entry in told}
    assert {entry["node"] for entry in told} <= {"node-0", "node-1"}
    assert {entry["outcome"] for entry in tickets} == {"IT-1000"}
    assert all(entry["time"].startswith("2030-03-17T17:") for entry in tickets)
    system.cleo.license.answer = "valid"
    async with system.node("node-1") as second:
        await asyncio.sleep(3600)
        assert second.state == "valid"
        history = second.status()["history"]
        assert history[: len(told)] == told
        assert history[-1]["what"] == "verified-again"


async def test_records_of_bygone_outages_are_deleted_after_a_month(
    system: System, postbox: Postbox
) -> None:
    """Mail and ticket claims go, the license record stays."""
    system.cleo.license.answer = "error"
    async with system.node():
        await asyncio.sleep(2 * DAY)
        system.cleo.license.answer = "valid"
        await asyncio.sleep(20 * DAY)
        assert any("/mails/" in path for path in system.repository.files)
        await asyncio.sleep(14 * DAY)
    assert list(system.repository.files) == [".harmony-agent/license.json"]


async def test_a_repository_that_is_away_does_not_disturb_the_housekeeping(
    system: System, postbox: Postbox, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again the next day."""
    system.cleo.license.answer = "error"
    async with system.node() as node:
        await asyncio.sleep(60)
        system.cleo.license.answer = "valid"
        await asyncio.sleep(31 * DAY)
        system.repository.trouble = Unavailable("gone")
        await asyncio.sleep(3 * DAY)
        assert "can't be deleted now: gone" in caplog.text
        system.repository.trouble = None
        await asyncio.sleep(2 * DAY)
        assert node.state == "valid"
    assert list(system.repository.files) == [".harmony-agent/license.json"]


async def test_a_success_of_another_node_in_the_last_minute_is_seen(
    system: System, postbox: Postbox
) -> None:
    """Before Harmony is stopped, the repository is read once more."""
    system.cleo.license_network.down = True
    async with system.node("cut-off") as node:
        await asyncio.sleep(60)
        ends = node.status()["graceRemainingSeconds"]
        await asyncio.sleep(ends - 30)
        assert node.state == "grace"
        system.cleo.license_network.down = False
        async with system.node("healthy") as healthy:
            await asyncio.sleep(1)
            assert healthy.state == "valid"
            system.cleo.license_network.down = True
            await asyncio.sleep(60)
        assert node.state == "valid"
        assert node.exits == []


async def test_a_tickets_number_that_comes_with_the_end_of_the_outage_is_no_trouble(
    system: System, postbox: Postbox
) -> None:
    """While the ticket is opened, another node verifies the license: the first learns it from the
    record in which it wanted to write the number, and does not wait for its own next attempt."""
    system.cleo.license.answer = "error"
    system.cleo.ticket_network.down = True
    async with system.node("first") as first:
        await asyncio.sleep(3700)
        assert first.state == "grace"
        system.cleo.license.answer = "valid"
        async with system.node("second"):
            await asyncio.sleep(0.5)
        system.cleo.license.answer = "error"
        system.cleo.ticket_network.down = False
        record = orjson.loads(system.repository.files[".harmony-agent/license.json"])
        (entry,) = record["licenses"].values()
        assert entry["record"]["unreachable"] is None
        await asyncio.sleep(310)
        assert first.state == "valid"
        assert first.exits == []
    (entry,) = orjson.loads(system.repository.files[".harmony-agent/license.json"])[
        "licenses"
    ].values()
    assert entry["record"]["success"]["node"] == "second"
    assert entry["record"]["unreachable"] is None
