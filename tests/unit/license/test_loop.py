"""The license's root task in virtual time: four days in a second."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from harmony_agent.core.errors import Unavailable
from harmony_agent.license.loop import LicenseLoop, LicenseOver
from harmony_agent.license.smtp import PostOffice
from harmony_agent.lifecycle.health import Health, Level
from harmony_agent.lifecycle.signals import ExitSignal
from harmony_agent.settings.model import LicenseSettings, MailSettings
from harmony_agent.settings.secret import SecretStr
from tests.unit.license.support import Cleo, LoopClock, MemoryRepository, license_settings

DAY = 86400.0
MAIL = MailSettings(
    administrator="ops@example.com",
    sender="harmony@example.com",
    smtp_url=SecretStr("smtp://localhost"),
)

# Few idle cycles before time moves on: nothing here comes from outside but threads, which looptime
# waits for, and months are to pass in seconds.
pytestmark = pytest.mark.looptime(noop_cycles=4)


@dataclass
class Postbox:
    """Every mail sent in a test; while `trouble` is set, none is."""

    mails: list[EmailMessage] = field(default_factory=list)
    trouble: Unavailable | None = None

    @property
    def subjects(self) -> list[str]:
        """What the administrator sees."""
        return [str(mail["Subject"]) for mail in self.mails]


@pytest.fixture
def postbox(monkeypatch: pytest.MonkeyPatch) -> Postbox:
    """Mails end here instead of at a server."""
    box = Postbox()

    async def send(_: PostOffice, message: EmailMessage) -> None:
        if box.trouble is not None:
            raise box.trouble
        box.mails.append(message)

    monkeypatch.setattr(PostOffice, "send", send)
    return box


@dataclass
class Node:
    """One agent's license loop with everything it touches."""

    loop: LicenseLoop
    health: Health
    clock: LoopClock
    exits: list[tuple[float, ExitSignal]] = field(default_factory=list)
    cleared: int = 0
    ended: LicenseOver | None = None

    @property
    def passed(self) -> bool:
        """Whether the startup step is passed."""
        steps = {c.name: c.level for c in self.health.startup()}
        return steps["license"] is Level.OK

    def has_ended(self) -> bool:
        """Whether the loop ended with LicenseOver."""
        return self.ended is not None

    def status(self) -> Mapping[str, Any]:
        """The section of /api/status."""
        section = self.health.sections.get("license")
        return section() if section is not None else {"state": "not begun"}

    @property
    def state(self) -> str:
        """As /api/status shows it."""
        return str(self.status()["state"])


@dataclass
class System:
    """Several nodes, one repository, one Cleo."""

    folder: Path
    cleo: Cleo = field(default_factory=Cleo)
    repository: MemoryRepository = field(default_factory=MemoryRepository)

    @contextlib.asynccontextmanager
    async def node(
        self,
        name: str = "node-0",
        *,
        settings: LicenseSettings | None = None,
        mail: MailSettings = MAIL,
        repository: Callable[[], MemoryRepository | None] | None = None,
        clock: LoopClock | None = None,
        alone: bool = False,
    ) -> AsyncIterator[Node]:
        """Run one node while the block runs; its state directory outlives it. `alone`: no
        repository is configured."""
        state_dir = self.folder / name
        state_dir.mkdir(exist_ok=True)
        health = Health(clock=asyncio.get_running_loop().time)
        clock = clock or LoopClock()

        async def on_exit(signal: ExitSignal) -> None:
            node.exits.append((asyncio.get_running_loop().time(), signal))

        def on_clear() -> None:
            node.cleared += 1

        loop = LicenseLoop(
            settings or license_settings(),
            mail,
            system="sys",
            host=name,
            state_dir=state_dir,
            ca_bundle=None,
            health=health,
            repository=None if alone else repository or (lambda: self.repository),
            on_exit=on_exit,
            on_clear=on_clear,
            clock=clock,
            services=self.cleo.connect,
        )
        node = Node(loop, health, clock)

        async def run() -> None:
            try:
                await loop.run()
            except LicenseOver as over:
                node.ended = over

        task = asyncio.create_task(run())
        try:
            yield node
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def system(tmp_path: Path) -> System:
    """A system without nodes yet."""
    return System(tmp_path)


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


async def test_several_nodes_share_one_outage_one_mail_and_one_ticket(
    system: System, postbox: Postbox
) -> None:
    """Three nodes without Cleo mail once; a pod that is new on the third day gets the rest."""
    system.cleo.license_network.down = True
    async with system.node("node-0") as first, system.node("node-1"), system.node("node-2"):
        await asyncio.sleep(2 * DAY)
        async with system.node("node-3") as late:
            await asyncio.sleep(60)
            assert late.status()["outage"] == first.status()["outage"]
            await asyncio.sleep(2 * DAY)
            assert late.has_ended()
    assert len(postbox.mails) == 6
    assert len(system.cleo.ticket.requests) == 1


async def test_a_success_of_another_node_counts_for_one_that_cannot_reach_the_service(
    system: System, postbox: Postbox
) -> None:
    """One license: verified by one node within the interval, it is verified for all."""
    async with system.node("node-0"):
        await asyncio.sleep(60)
    system.cleo.license_network.down = True
    async with system.node("node-1") as cut_off:
        await asyncio.sleep(60)
        assert cut_off.state == "valid"
        await asyncio.sleep(DAY + 2 * 3600)
        assert cut_off.state == "grace"


async def test_a_pod_without_a_past_reads_the_repository_before_it_judges(
    system: System, postbox: Postbox
) -> None:
    """A refusal is held back until it is known whether this license was ever verified."""
    async with system.node("node-0"):
        await asyncio.sleep(1)
    system.cleo.license.answer = "suspended"
    opened: list[MemoryRepository] = []
    async with system.node("node-1", repository=lambda: next(iter(opened), None)) as node:
        await asyncio.sleep(300)
        assert node.state == "unverified"
        assert node.exits == []
        opened.append(system.repository)
        await asyncio.sleep(10)
        assert node.state == "grace"


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


async def test_a_node_that_died_with_a_claim_is_stood_in_for(
    system: System, postbox: Postbox
) -> None:
    """A mail claimed by a node that never sent it is sent by another after 15 minutes."""
    system.cleo.license_network.down = True
    postbox.trouble = Unavailable("mail server away")
    async with system.node("node-0"):
        await asyncio.sleep(60)
    postbox.trouble = None
    async with system.node("node-1"):
        await asyncio.sleep(600)
        assert postbox.mails == []
        await asyncio.sleep(1800)
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


async def test_a_pod_that_could_not_judge_yet_has_no_past_after_a_restart_either(
    system: System, postbox: Postbox
) -> None:
    """Waiting for the repository leaves nothing behind that looks like knowledge."""
    async with system.node("node-0"):
        await asyncio.sleep(1)
    system.cleo.license.answer = "suspended"
    for _ in range(2):
        async with system.node("node-1", repository=lambda: None) as node:
            await asyncio.sleep(300)
            assert node.state == "unverified"
            assert not node.has_ended()


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
