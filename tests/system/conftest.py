"""What the system tests share: read-only mounts, and one node with Cleo's services."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.cleo import LicenseService, TicketService
from fixtures.demo_backends import secret
from fixtures.harmony import install_home
from fixtures.serve import serving
from fixtures.servers.smtp import MailServer, mail_server
from fixtures.tls import TestAuthority
from tests.system.agent_process import AgentProcess, Layout

ROOT = Path(__file__).parents[2]


@pytest.fixture
def read_only() -> Callable[[Path], AbstractContextManager[None]]:
    """A block in which a directory is mounted read-only; permissions would not stop root."""

    @contextmanager
    def mounted(directory: Path) -> Iterator[None]:
        subprocess.run(["mount", "--bind", directory, directory], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
            yield
        finally:
            subprocess.run(["umount", directory], check=True)

    return mounted


@pytest.fixture
def small_disk() -> Callable[[Path], AbstractContextManager[Path]]:
    """A block in which a directory is a disk of 4 MiB that a file, which it yields, fills up."""

    @contextmanager
    def mounted(directory: Path) -> Iterator[Path]:
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", directory], check=True)
        try:
            filler = directory / "filler"
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(b"x" * 4096)
            yield filler
        finally:
            subprocess.run(["umount", "--lazy", directory], check=True)

    return mounted


@dataclass
class Node:
    """One node with everything it talks to; file repositories, local log store unless told."""

    layout: Layout
    license: LicenseService
    tickets: TicketService
    mail: MailServer
    authority: TestAuthority
    environment: dict[str, str]

    def agent(self, **environ: str) -> AgentProcess:
        """Start the agent."""
        return AgentProcess(self.layout, **{**self.environment, **environ})

    @contextmanager
    def harmony(
        self, rate: float = 20.0, farewell: float = 0.0
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """A Harmony stand-in below harmony-guard while the block runs; `farewell` seconds it goes
        on working after SIGTERM."""
        with (self.layout.root / "harmony.log").open("ab") as log:
            process = subprocess.Popen(
                [ROOT / "entrypoint" / "harmony-guard", sys.executable, "-m", "fixtures.harmony",
                 self.layout.home, "--rate", str(rate), "--farewell", str(farewell)],
                cwd=ROOT,
                env={**self.layout.environment(), "HARMONY_GUARD_STOP_TIMEOUT": "10"},
                stdout=log,
                stderr=log,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node whose Harmony is installed and whose services all answer."""
    layout = Layout(tmp_path)
    install_home(layout.home)
    layout.write_secrets()
    authority = TestAuthority(tmp_path / "tls")
    certificate = authority.issue()
    with ExitStack() as stack:
        license_, tickets = LicenseService(), TicketService()
        urls = [stack.enter_context(serving(s.app, certificate)) for s in (license_, tickets)]
        mail = stack.enter_context(
            mail_server("starttls", certificate, account=("agent", "mail-Passw0rd"))
        )
        environment = {
            "HARMONY_AGENT_LICENSE_URL": urls[0],
            "HARMONY_AGENT_TICKET_URL": urls[1],
            "HARMONY_AGENT_CA_BUNDLE": str(authority.bundle),
            "HARMONY_AGENT_ADMIN_EMAIL": "ops@example.com",
            "HARMONY_AGENT_FROM_EMAIL": "harmony@example.com",
            "HARMONY_AGENT_SMTP_URL": (
                f"smtp+starttls://agent:mail-Passw0rd@localhost:{mail.port}"
            ),
        }
        yield Node(layout, license_, tickets, mail, authority, environment)


__all__ = ["Node", "secret"]
