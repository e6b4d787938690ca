"""A system of nodes whose license loops run in virtual time, and what they leave behind."""

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

__all__ = ["DAY", "MAIL", "Node", "Postbox", "System", "postbox", "system"]

DAY = 86400.0
MAIL = MailSettings(
    administrator="ops@example.com",
    sender="harmony@example.com",
    smtp_url=SecretStr("smtp://localhost"),
)


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
