"""What the backends with real folders (mounted ones and SMB) have in common.

Their libraries block, so each call runs in one of a few threads and is given up after its limit.
"""

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from harmony_agent.core.errors import AgentError, OutcomeUnknown
from harmony_agent.core.threads import Workers
from harmony_agent.repositories.interface import Content, Entry, Repository, Token
from harmony_agent.repositories.layout import CONTROL
from harmony_agent.repositories.limits import CONTROL_LIMIT, DATA_LIMIT, data_limit

__all__ = [
    "ABANDONED_AFTER",
    "LOCK_FILE",
    "LOCK_WAIT",
    "THREADS",
    "FolderRepository",
    "Scan",
    "abandoned",
]

T = TypeVar("T")

THREADS: Final = 16
LOCK_FILE: Final = f"{CONTROL}/lock"
"""Held while a file is replaced or deleted, so that check and change are one step."""
LOCK_WAIT: Final = 8.0
"""Seconds to wait for the lock; less than the limit of the operation that needs it."""
ABANDONED_AFTER: Final = 24 * 3600.0
"""Seconds after which a temporary file belongs to a writer that died; clocks may differ by hours,
and no write takes a day."""

# Files and the names of sub-folders of one folder.
Scan = tuple[list[Entry], list[str]]


class FolderRepository(Repository):
    """Runs a connector's blocking operations in threads and lists folder by folder.

    Connectors implement the operations with a leading underscore. They may raise what their
    library raises: `_translate` turns it into the agent's errors.
    """

    def __init__(self) -> None:
        self._workers = Workers(f"{self.kind}-repository", THREADS)

    @abstractmethod
    def _translate(self, error: Exception, what: str) -> AgentError:
        """The agent's error for a library's; `what` is the operation and the place."""

    @abstractmethod
    def _check(self, path: str) -> None:
        """Raise Unsupported if the backend can't hold this name."""

    @abstractmethod
    def _connect(self) -> None:
        """Connect and prove that the base exists."""

    @abstractmethod
    def _scan(self, folder: str) -> Scan:
        """What lies directly in `folder`; nothing if it does not exist. Removes temporary files
        older than ABANDONED_AFTER."""

    @abstractmethod
    def _stat(self, path: str) -> Entry | None: ...

    @abstractmethod
    def _read(self, path: str) -> Content: ...

    @abstractmethod
    def _create(self, path: str, data: bytes) -> Token: ...

    @abstractmethod
    def _replace(self, path: str, data: bytes, token: Token) -> Token: ...

    @abstractmethod
    def _delete(self, path: str, token: Token) -> None: ...

    @abstractmethod
    def _make_folder(self, path: str) -> None: ...

    async def open(self) -> None:
        """See Repository."""
        await self._run("open", "", CONTROL_LIMIT, self._connect)

    async def close(self) -> None:
        """See Repository."""
        self._workers.close()

    async def list(self, folder: str = "") -> list[Entry]:
        """See Repository. Folders of one level are read side by side."""
        if folder:
            self._check(folder)
        found: list[Entry] = []
        level = [folder]
        while level:
            scans = await self._scan_all(level)
            level = []
            for files, folders in scans:
                found += (entry for entry in files if entry.path != LOCK_FILE)
                level += folders
        return found

    async def _scan_all(self, folders: Sequence[str]) -> Sequence[Scan]:
        """Scan `folders` side by side; the first failure ends the others."""
        slots = asyncio.Semaphore(THREADS // 2)  # others want to work as well

        async def scan(folder: str) -> Scan:
            async with slots:
                return await self._run("list", folder, DATA_LIMIT, lambda: self._scan(folder))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(scan(folder)) for folder in folders]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return [task.result() for task in tasks]

    async def stat(self, path: str) -> Entry | None:
        """See Repository."""
        self._check(path)
        return await self._run("stat", path, CONTROL_LIMIT, lambda: self._stat(path))

    async def read(self, path: str) -> Content:
        """See Repository."""
        self._check(path)
        return await self._run("read", path, DATA_LIMIT, lambda: self._read(path))

    async def create(self, path: str, data: bytes) -> Token:
        """See Repository."""
        self._check(path)
        return await self._run(
            "create", path, data_limit(len(data)), lambda: self._create(path, data)
        )

    async def replace(self, path: str, data: bytes, token: Token) -> Token:
        """See Repository."""
        self._check(path)
        limit = data_limit(len(data))
        return await self._run("replace", path, limit, lambda: self._replace(path, data, token))

    async def delete(self, path: str, token: Token) -> None:
        """See Repository."""
        self._check(path)
        await self._run("delete", path, CONTROL_LIMIT, lambda: self._delete(path, token))

    async def make_folder(self, path: str) -> None:
        """See Repository."""
        if path:
            self._check(path)
        await self._run("make folder", path, CONTROL_LIMIT, lambda: self._make_folder(path))

    async def _run(self, verb: str, path: str, limit: float, call: Callable[[], T]) -> T:
        """Run a blocking operation; the one place where the library's errors are translated."""
        what = (
            f"can't {verb} {path!r} in {self.location}" if path else f"can't {verb} {self.location}"
        )
        try:
            return await self._workers.run(limit, call)
        except OutcomeUnknown as error:
            self._given_up()
            raise OutcomeUnknown(f"{what}: no answer within {limit:g} s") from error
        except AgentError:
            raise
        except Exception as error:  # libraries raise anything; this is the seam
            raise self._translate(error, what) from error

    def _given_up(self) -> None:
        """An operation did not return in time; connectors free its thread if they can."""


def abandoned(modified: float) -> bool:
    """Whether a temporary file last written at `modified` (Unix seconds) belongs to nobody."""
    return time.time() - modified > ABANDONED_AFTER
