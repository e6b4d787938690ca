"""What several tests of the license share: a repository in memory, clocks that can be set."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from fixtures.cleo import LicenseService, TicketService
from harmony_agent.core.errors import Absent, AgentError, PreconditionFailed
from harmony_agent.license.client import Exchange, TicketClient, VerificationClient
from harmony_agent.license.verifier import Services
from harmony_agent.repositories.interface import Content, Download, Entry, Repository, Token
from harmony_agent.settings.model import LicenseSettings
from harmony_agent.settings.secret import SecretBytes, SecretStr

START = 1_900_000_000.0
"""A wall clock time to begin tests at, in seconds since 1970."""


class MemoryRepository(Repository):
    """A repository with true compare-and-swap; `trouble` is raised by every operation."""

    kind = "memory"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.trouble: AgentError | None = None
        self._version: dict[str, int] = {}
        self._writes = 0

    @property
    def location(self) -> str:
        """For messages."""
        return "memory:"

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def list(self, folder: str = "") -> list[Entry]:
        """All files below `folder`."""
        await self._touch()
        return [
            Entry(path, len(data), self._token(path))
            for path, data in sorted(self.files.items())
            if path.startswith(folder)
        ]

    async def stat(self, path: str) -> Entry | None:
        """One file."""
        await self._touch()
        if path not in self.files:
            return None
        return Entry(path, len(self.files[path]), self._token(path))

    def download(self, path: str) -> AbstractAsyncContextManager[Download]:
        """Records are small: none comes in pieces."""
        raise NotImplementedError

    async def upload(
        self, path: str, size: int, chunks: AsyncIterator[bytes], token: Token | None
    ) -> Token:
        """As `download`."""
        raise NotImplementedError

    async def read(self, path: str) -> Content:
        """One file's content."""
        await self._touch()
        if path not in self.files:
            raise Absent(path)
        return Content(self.files[path], self._token(path))

    async def create(self, path: str, data: bytes) -> Token:
        """Exclusive create."""
        await self._touch()
        if path in self.files:
            raise PreconditionFailed(path)
        return self._put(path, data)

    async def replace(self, path: str, data: bytes, token: Token) -> Token:
        """Compare and swap."""
        await self._touch()
        if path not in self.files or self._token(path) != token:
            raise PreconditionFailed(path)
        return self._put(path, data)

    async def delete(self, path: str, token: Token) -> None:
        """Compare and delete."""
        await self._touch()
        if path in self.files:
            if self._token(path) != token:
                raise PreconditionFailed(path)
            del self.files[path]

    async def make_folder(self, path: str) -> None:
        """Folders need not be made."""

    def overwrite(self, path: str, data: bytes) -> None:
        """Somebody else writes, by no rules."""
        self._put(path, data)

    async def _touch(self) -> None:
        await asyncio.sleep(0)  # others may run between any two operations
        if self.trouble is not None:
            raise self.trouble

    def _put(self, path: str, data: bytes) -> Token:
        self._writes += 1
        self.files[path], self._version[path] = data, self._writes
        return self._token(path)

    def _token(self, path: str) -> Token:
        return Token(str(self._version.get(path, 0)))


class LoopClock:
    """A node's clocks, driven by the event loop's (virtual) time; the wall clock can be stepped."""

    def __init__(self, boot_id: str = "boot-1") -> None:
        self.step = 0.0
        self._boot_id = boot_id

    def wall(self) -> float:
        """The wall clock with its step."""
        return START + self._time() + self.step

    def boottime(self) -> float:
        """Seconds since boot."""
        return 5000.0 + self._time()

    def boot_id(self) -> str:
        """The boot's name."""
        return self._boot_id

    def _time(self) -> float:
        return asyncio.get_running_loop().time()


class Network(httpx.AsyncBaseTransport):
    """The way to one application; while `down` every connection is refused."""

    def __init__(self, app: object) -> None:
        self._inner = httpx.ASGITransport(app=app, raise_app_exceptions=True)  # type: ignore[arg-type]
        self.down = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass on, or refuse as a real socket would."""
        if self.down:
            raise httpx.ConnectError("refused") from ConnectionRefusedError(111, "refused")
        return await self._inner.handle_async_request(request)


@dataclass
class Cleo:
    """Both services of Cleo in this process."""

    license: LicenseService = field(default_factory=LicenseService)
    ticket: TicketService = field(default_factory=TicketService)

    def __post_init__(self) -> None:
        self.license_network = Network(self.license.app)
        self.ticket_network = Network(self.ticket.app)

    def connect(self, settings: LicenseSettings, ca_bundle: Path | None) -> Services:
        """Clients that reach the stand-ins without sockets."""
        return Services(
            VerificationClient(Exchange(settings.url, ca_bundle, transport=self.license_network)),
            TicketClient(Exchange(settings.ticket_url, ca_bundle, transport=self.ticket_network)),
        )


def license_settings(
    *,
    key: bytes = b"license.owner=ACME",
    code: str = "4711-verification",
    serial: str | None = "HC1234-ZZ5678",
    grace: float = 4 * 86400.0,
) -> LicenseSettings:
    """Settings of one license."""
    return LicenseSettings(
        key=SecretBytes(key),
        verification_code=SecretStr(code),
        serial=serial,
        grace_period=grace,
    )
