"""The license's root task with real sockets, certificates, files, clock and mail server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from fixtures.cleo import LicenseService, TicketService
from fixtures.serve import free_port, serving
from fixtures.servers.smtp import mail_server
from harmony_agent.license.loop import LicenseLoop, LicenseOver
from harmony_agent.lifecycle.exit import announce_exit, withdraw_exit
from harmony_agent.lifecycle.health import Health
from harmony_agent.lifecycle.signals import ExitSignal, SignalDirectory
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings.model import FileRepository, LicenseSettings, MailSettings
from harmony_agent.settings.properties import build
from harmony_agent.settings.secret import SecretBytes, SecretStr
from tests.integration.license.conftest import Certificates

LIMIT = 30.0


@dataclass
class Running:
    """One loop beside a signal directory, as the agent wires it."""

    loop: LicenseLoop
    health: Health
    signals: SignalDirectory
    over: list[LicenseOver] = field(default_factory=list)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(LIMIT):
            while not condition():
                await asyncio.sleep(0.02)

    def status(self) -> Mapping[str, Any]:
        """The section of /api/status."""
        section = self.health.sections.get("license")
        return section() if section is not None else {"state": "not begun"}

    @property
    def state(self) -> str:
        """As in /api/status."""
        return str(self.status()["state"])


@asynccontextmanager
async def running(
    folder: Path,
    bundle: Path,
    license_url: str,
    ticket_url: str,
    smtp_port: int,
    repository: Repository,
    *,
    grace: float = 3600.0,
) -> AsyncIterator[Running]:
    """Run one loop while the block runs."""
    health = Health()
    (folder / "state").mkdir(exist_ok=True)
    (folder / "signals").mkdir(exist_ok=True)
    signals = SignalDirectory(folder / "signals")

    async def on_exit(signal: ExitSignal) -> None:
        announce_exit(signal, health, signals, None)

    loop = LicenseLoop(
        LicenseSettings(
            key=SecretBytes(b"license.owner=ACME"),
            verification_code=SecretStr("4711-code"),
            serial="HC1234-ZZ5678",
            url=license_url,
            ticket_url=ticket_url,
            grace_period=grace,
            verify_interval=1.0,
            verify_retry=0.2,
        ),
        MailSettings(
            administrator="ops@example.com",
            sender="harmony@example.com",
            smtp_url=SecretStr(f"smtp+starttls://localhost:{smtp_port}"),
        ),
        system="sys",
        host="node-0",
        state_dir=folder / "state",
        ca_bundle=bundle,
        health=health,
        repository=lambda: repository,
        on_exit=on_exit,
        on_clear=lambda: withdraw_exit(health, signals),
    )
    node = Running(loop, health, signals)

    async def run() -> None:
        try:
            await loop.run()
        except LicenseOver as over:
            node.over.append(over)

    task = asyncio.create_task(run())
    try:
        yield node
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def repository(tmp_path: Path) -> AsyncIterator[Repository]:
    """A real file repository."""
    root = tmp_path / "shared"
    root.mkdir()
    settings = build(FileRepository, {"rootPath": root})
    opened = connect(settings, "sys", ca_bundle=None)
    await opened.open()
    yield opened
    await opened.close()


async def test_from_outage_to_ticket_to_success(
    tmp_path: Path, certificates: Certificates, repository: Repository
) -> None:
    """Refused connections, mail over STARTTLS, ticket, then verified again with a second mail."""
    tickets, port = TicketService(), free_port()
    with (
        mail_server("starttls", certificates.good) as mail,
        serving(tickets.app, certificates.good) as ticket_url,
    ):
        async with running(
            tmp_path,
            certificates.bundle,
            f"https://localhost:{port}",
            ticket_url,
            mail.port,
            repository,
        ) as node:
            await node.until(lambda: node.state == "grace" and mail.mails and tickets.tickets)
            await node.until(lambda: node.status()["ticket"] == "IT-1000")
            assert node.health.harmony_may_run
            with serving(LicenseService().app, certificates.good, port=port):
                await node.until(lambda: node.state == "valid" and len(mail.mails) == 2)
    assert [str(m["Subject"]).split(": ")[1] for m in mail.mails][1] == "license verified again"
    record = orjson.loads((tmp_path / "shared/sys/.harmony-agent/license.json").read_bytes())
    (entry,) = record["licenses"].values()
    assert entry["record"]["success"]["node"] == "node-0"
    assert b"4711-code" not in orjson.dumps(record)


async def test_a_grace_that_ends_tells_harmony_and_a_later_success_takes_it_back(
    tmp_path: Path, certificates: Certificates, repository: Repository
) -> None:
    """The exit file, the last mail, LicenseOver; then a start that is verified removes it."""
    port = free_port()
    with (
        mail_server("starttls", certificates.good) as mail,
        serving(TicketService().app, certificates.good) as ticket_url,
    ):
        arguments = (
            tmp_path,
            certificates.bundle,
            f"https://localhost:{port}",
            ticket_url,
            mail.port,
            repository,
        )
        async with running(*arguments, grace=2.0) as node:
            await node.until(lambda: node.over)
            assert node.signals.exit_told()
            assert not node.health.harmony_may_run
            assert node.over[0].signal.code == 77
            assert "Harmony is being stopped" in str(mail.mails[-1]["Subject"])
        async with running(*arguments, grace=2.0) as node:
            await node.until(lambda: node.over)
            assert not node.health.started
        assert len(mail.mails) == 2
        with serving(LicenseService().app, certificates.good, port=port):
            async with running(*arguments, grace=2.0) as node:
                await node.until(lambda: node.state == "valid")
                assert not node.signals.exit_told()
                assert node.health.harmony_may_run
