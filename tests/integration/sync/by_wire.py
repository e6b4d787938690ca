"""Pods of one system that reach a real server by a wire, watched for anything half.

What they are to end with is the same everywhere: FILES, small ones of both sides and a large one.
Every path is written once, so whatever else stands under its name is half or wrong.
"""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import pytest

from fixtures.servers.samba import Samba
from fixtures.wire import Wire
from harmony_agent.core.durable import TEMPORARY_PREFIX
from harmony_agent.core.errors import Absent, Unavailable
from harmony_agent.repositories.folders import ABANDONED_AFTER
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.interface import Entry, Repository, Token
from harmony_agent.repositories.layout import CONFLICTS, CONTROL, SET_ASIDE
from harmony_agent.settings.model import SmbRepository
from tests.integration.repositories.backends import Backend
from tests.integration.repositories.conftest import make_backend
from tests.integration.repositories.test_failures import changed_server
from tests.integration.sync.disk import tree
from tests.integration.sync.node import Node, beside_harmony, opened

__all__ = [
    "FILES",
    "LARGE",
    "LEFT_OPEN",
    "LIMIT",
    "Pods",
    "Witness",
    "arrival",
    "fill",
    "filled",
    "nothing_spoiled",
    "pods_by_wire",
]

T = TypeVar("T")

_PAUSES: Final = ("agent.opening", "repositories.breaker", "sync.errands", "sync.side")
LARGE: Final = 20 * 1024 * 1024  # bytes; more than what goes in one piece
LIMIT: Final = 120.0
"""Seconds within which all has to be well again."""
LEFT_OPEN: Final = pytest.mark.filterwarnings("ignore:unclosed SMB handle:ResourceWarning")
"""smbclient's scandir can't close a folder whose connection is gone, and complains of itself."""
HOST: Final = "node-1"
_SMALL: Final = 60  # files of each side
_dice = random.Random(20260411)
FILES: Final = {
    **{f"certs/{n}.cer": _dice.randbytes(3000) for n in range(_SMALL)},
    **{f"AS2/mdn/{n}.mdn": _dice.randbytes(2000) for n in range(_SMALL)},
    "data/large": _dice.randbytes(LARGE),
}


@dataclass
class Pods:
    """A system, and the wire by which its pods reach the server."""

    backend: Backend
    wire: Wire
    scratch: Path

    def node(self, name: str) -> Node:
        """A new pod; all are called HOST. Its disk lies below the folder `name`."""
        settings = self.backend.settings(
            **changed_server(self.backend, "127.0.0.1", self.wire.port)
        )
        return Node(self.scratch / name / HOST, settings, self.backend.system)

    @contextlib.asynccontextmanager
    async def straight(self) -> AsyncIterator[Handle]:
        """The configuration repository, past the wire."""
        async with opened(self.backend.connect()) as repository:
            yield repository

    def residue(self) -> list[Path]:
        """Temporary files on the server. Only SMB has any, where a writer may lose its connection;
        stores take an object whole."""
        server = self.backend.server
        if not isinstance(server, Samba):
            return []
        return list((server.files / self.backend.system).rglob(f"{TEMPORARY_PREFIX}*"))


@contextlib.contextmanager
def pods_by_wire(kind: str, request: pytest.FixtureRequest, scratch: Path) -> Iterator[Pods]:
    """Pods of a new system on the backend `kind`, whose attempts follow each other soon."""
    patch = request.getfixturevalue("monkeypatch")
    for module in _PAUSES:
        patch.setattr(f"harmony_agent.{module}._CEILING", 1.0)
    backend = make_backend(kind, request, scratch)
    with Wire(_port(backend)) as wire:
        yield Pods(backend, wire, scratch)


def _port(backend: Backend) -> int:
    settings = backend.settings()
    if isinstance(settings, SmbRepository):
        return settings.port
    port = urlsplit(settings.endpoint).port  # type: ignore[union-attr]  # servers of ours have one
    assert port is not None
    return port


def fill(node: Node) -> None:
    """Harmony has written all of FILES."""
    for path, data in FILES.items():
        node.write(path, data)


async def _answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until the server answers: it may be busy, or have just come back."""
    async with asyncio.timeout(LIMIT):
        while True:
            with contextlib.suppress(Unavailable):
                return await ask()
            await asyncio.sleep(0.2)


async def _entries(repository: Repository) -> dict[str, Entry]:
    """What the configuration repository holds, with the node's folder in it, by path in home."""
    entries = await _answered(repository.list)
    return {entry.path.removeprefix(f"{HOST}/"): entry for entry in entries}


def _of_harmony(entries: dict[str, Entry]) -> dict[str, Entry]:
    return {path: entry for path, entry in entries.items() if not path.startswith(f"{CONTROL}/")}


async def arrival(repository: Repository) -> None:
    """Wait until the repository holds all of FILES by size, and nothing else of Harmony's."""
    wanted = {path: len(data) for path, data in FILES.items()}
    async with asyncio.timeout(LIMIT):
        while wanted != {
            path: entry.size for path, entry in _of_harmony(await _entries(repository)).items()
        }:
            await asyncio.sleep(0.1)


async def filled(pods: Pods) -> None:
    """A first pod pushes all of FILES, and ends."""
    async with beside_harmony(first := pods.node("first")), pods.straight() as repository:
        fill(first)
        await arrival(repository)


@dataclass
class Witness:
    """Looks at homes and repository all the time, and remembers what it saw half."""

    repository: Repository
    homes: list[Node]
    half: list[str] = field(default_factory=list)
    _seen: set[tuple[str, Token | tuple[int, int, int]]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look while the block runs, and once more at its end."""
        task = asyncio.create_task(self._look_for_ever())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._look()

    async def _look_for_ever(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(0.1)

    async def _look(self) -> None:
        for node in self.homes:
            self._look_at(node)
        for path, entry in _of_harmony(await _entries(self.repository)).items():
            key = (entry.path, entry.token)
            if key not in self._seen:
                with contextlib.suppress(Absent):
                    found = (await _answered(partial(self.repository.read, entry.path))).data
                    self._judge(entry.path, path, found)
                self._seen.add(key)

    def _look_at(self, node: Node) -> None:
        for path in FILES:
            file = node.home / path
            with contextlib.suppress(FileNotFoundError):
                facts = file.stat()
                key = (str(file), (facts.st_ino, facts.st_mtime_ns, facts.st_size))
                if key not in self._seen:
                    self._judge(str(file), path, file.read_bytes())
                    self._seen.add(key)

    def _judge(self, where: str, path: str, data: bytes) -> None:
        if FILES.get(path) != data:
            self.half.append(f"{where}: {len(data)} bytes")


async def nothing_spoiled(pods: Pods, nodes: list[Node]) -> None:
    """Fails unless homes and repository hold FILES as they are, nothing was kept aside, and
    temporary files are gone at the latest when their time is over."""
    for node in nodes:
        assert node.files() == FILES
        assert tree(node.state / "replaced") == {}
        assert list(node.home.rglob(f"{TEMPORARY_PREFIX}*")) == []
    async with pods.straight() as repository:
        entries = await _entries(repository)
        assert [path for path in entries if path.startswith((CONFLICTS, SET_ASIDE))] == []
        assert _of_harmony(entries).keys() == FILES.keys()
        pods.wire.close_connections()  # the server holds on to what they have open
        for file in pods.residue():
            with contextlib.suppress(FileNotFoundError):  # the server deletes it just now
                os.utime(file, (0, time.time() - ABANDONED_AFTER - 1))
        async with asyncio.timeout(LIMIT):
            while pods.residue():
                await _answered(repository.list)
                await asyncio.sleep(0.1)
