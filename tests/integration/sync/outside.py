"""A repository as somebody else sees it who has every right: Harmony, or an administrator."""

import asyncio
import contextlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harmony_agent.core.errors import Absent
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings import model
from tests.integration.sync.disk import tree

__all__ = ["Bucket", "Folder", "Outside"]

T = TypeVar("T")


class Outside(ABC):
    """The files of one system in its repositories."""

    @abstractmethod
    def files(self) -> dict[str, bytes]:
        """Content by path, without what lies in the agent's own folders."""

    @abstractmethod
    def put(self, path: str, data: bytes) -> None:
        """Create a file."""


@dataclass(frozen=True)
class Folder(Outside):
    """A system's folder on a disk here; what is put there belongs to `owner`."""

    root: Path
    owner: str | None = None

    def files(self) -> dict[str, bytes]:
        """See Outside."""
        return tree(self.root)

    def put(self, path: str, data: bytes) -> None:
        """See Outside."""
        beside = self.root / "beside"
        beside.write_bytes(data)
        if self.owner is not None:
            shutil.chown(beside, self.owner)
        beside.rename(self.root / path)


@dataclass(frozen=True)
class Bucket(Outside):
    """A system's folder in an object store."""

    settings: model.Repository
    system: str

    def files(self) -> dict[str, bytes]:
        """See Outside."""

        async def read(repository: Repository) -> dict[str, bytes]:
            found = {}
            for entry in await repository.list():
                if ".harmony-agent" not in entry.path.split("/"):
                    with contextlib.suppress(Absent):  # deleted while we look
                        found[entry.path] = (await repository.read(entry.path)).data
            return found

        return self.do(read)

    def put(self, path: str, data: bytes) -> None:
        """See Outside."""
        self.do(lambda repository: repository.create(path, data))

    def do(self, work: Callable[[Repository], Awaitable[T]]) -> T:
        """What `work` finds in the folder."""

        async def done() -> T:
            repository = connect(self.settings, self.system, ca_bundle=None)
            await repository.open()
            try:
                return await work(repository)
            finally:
                await repository.close()

        return asyncio.run(done())
