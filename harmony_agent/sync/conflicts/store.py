"""The conflict store: versions that lost against what the repository accepted first.

They lie in the shared repository, outside of Harmony's own folders (which would load them), where
an administrator of any node finds them. Nothing is ever removed but by age or by a person.
"""

import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from harmony_agent.core.errors import Absent, PreconditionFailed, Refused
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import CONFLICTS
from harmony_agent.sync import metrics
from harmony_agent.sync.decisions.paths import name_problem
from harmony_agent.sync.decisions.states import digest
from harmony_agent.sync.housekeeping import AGE, Sightings

__all__ = ["Conflict", "ConflictStore", "the_one"]

log = logging.getLogger(__name__)

_SHOWN: Final = 20
_FRESH: Final = timedelta(days=1)  # an older copy may be purged long before this version's time
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_NAME: Final = re.compile(r"(\d{8}T\d{6}Z)-(.+)-([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Conflict:
    """One kept version: `key` is its path in the repository, `path` Harmony's file, `time` (UTC)
    and `host` when and by which node it was kept, `hash` the start of its SHA-256, `size` bytes."""

    key: str
    path: str
    time: datetime
    host: str
    hash: str
    size: int

    @classmethod
    def of(cls, key: str, size: int) -> "Conflict | None":
        """What a path in the store says; None if it is none of ours."""
        folder, _, name = key.removeprefix(f"{CONFLICTS}/").rpartition("/")
        found = _NAME.fullmatch(name)
        if not found or not key.startswith(f"{CONFLICTS}/"):
            return None
        if name_problem(folder) is not None or name_problem(name) is not None:
            return None
        try:
            moment = datetime.strptime(found[1], _STAMP).replace(tzinfo=UTC)
        except ValueError:
            return None
        return cls(key, folder, moment, found[2], found[3], size)

    def as_json(self) -> dict[str, Any]:
        """For the API and the command line."""
        moment = self.time.isoformat().replace("+00:00", "Z")
        return {
            "key": self.key,
            "path": self.path,
            "time": moment,
            "host": self.host,
            "sizeBytes": self.size,
        }


def the_one(kept: Sequence[Conflict], wanted: str) -> Conflict:
    """The one of `kept` that a person means by `wanted`: its key, with or without the store's own
    folder, or Harmony's path if one version of it is kept.

    Raises Absent if there is none, Refused if there are several.
    """
    whole = wanted if wanted.startswith(f"{CONFLICTS}/") else f"{CONFLICTS}/{wanted}"
    found = [each for each in kept if each.key == whole]
    found = found or [each for each in kept if each.path == wanted]
    if not found:
        raise Absent(
            f"no version of {wanted!r} is in the conflict store; 'harmony-agent conflicts list' "
            "shows what is"
        )
    if len(found) > 1:
        keys = ", ".join(each.key for each in found)
        raise Refused(f"{len(found)} versions of {wanted} are kept, name one of them: {keys}")
    return found[0]


class ConflictStore:
    """The store in `repository`; `host` is this node's name. Raises the repository's errors."""

    def __init__(
        self,
        repository: Repository,
        host: str,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._host = host
        self._wall = wall
        self._sightings = Sightings(clock)
        self._kept: list[Conflict] = []

    async def keep(self, path: str, data: bytes) -> str:
        """Keep a version of `path`; its key. The same content is kept once a day."""
        short = digest(data)[:8]
        if (known := await self._find(path, short, len(data))) is not None:
            return known
        key = self._key(path, short)
        try:
            await self._repository.create(key, data)
        except PreconditionFailed:
            pass  # kept in the same second: the name says that it is the same content
        return self._told(path, key, len(data))

    async def keep_large(
        self, path: str, size: int, chunks: AsyncIterator[bytes], sha256: str
    ) -> str:
        """As `keep`, for a version too large for memory; `chunks` yields its `size` bytes."""
        short = sha256[:8]
        if (known := await self._find(path, short, size)) is not None:
            return known
        key = self._key(path, short)
        try:
            await self._repository.upload(key, size, chunks, None)
        except PreconditionFailed:
            if await self._repository.stat(key) is None:
                raise  # the source's, not the key's
        return self._told(path, key, size)

    async def list(self) -> list[Conflict]:
        """What is kept, oldest first."""
        entries = await self._repository.list(CONFLICTS)
        found = [Conflict.of(entry.path, entry.size) for entry in entries]
        kept = sorted((c for c in found if c is not None), key=lambda c: (c.time, c.key))
        self._sightings.see(conflict.key for conflict in kept)
        metrics.CONFLICTS_KEPT.set(len(kept))
        self._kept = kept
        return kept

    def section(self) -> Mapping[str, Any]:
        """The store's share of /api/status, as it was last looked at: newest first."""
        newest = [kept.as_json() for kept in reversed(self._kept[-_SHOWN:])]
        return {"count": len(self._kept), "newest": newest}

    async def remove(self, key: str) -> None:
        """Delete a kept version; one that is gone already is no error."""
        entry = await self._repository.stat(key)
        if entry is not None:
            await self._repository.delete(key, entry.token)
        self._kept = [kept for kept in self._kept if kept.key != key]
        metrics.CONFLICTS_KEPT.set(len(self._kept))

    async def purge(self) -> int:
        """Delete what is older than 30 days; how many that were."""
        oldest = self._wall() - AGE
        due = [
            conflict.key
            for conflict in await self.list()
            if conflict.time < oldest and self._sightings.are_long(conflict.key)
        ]
        for key in due:
            await self.remove(key)
        if due:
            log.info("%d kept versions of files in conflict were older than 30 days", len(due))
        return len(due)

    async def _find(self, path: str, short: str, size: int) -> str | None:
        oldest = self._wall() - _FRESH
        for entry in await self._repository.list(f"{CONFLICTS}/{path}"):
            kept = Conflict.of(entry.path, entry.size)
            if kept is None or kept.time < oldest:
                continue
            if (kept.path, kept.hash, kept.size) == (path, short, size):
                return kept.key
        return None

    def _key(self, path: str, short: str) -> str:
        return f"{CONFLICTS}/{path}/{self._wall().strftime(_STAMP)}-{self._host}-{short}"

    def _told(self, path: str, key: str, size: int) -> str:
        metrics.CONFLICTS.inc()
        kept = Conflict.of(key, size)
        if kept is not None and key not in {other.key for other in self._kept}:
            self._kept.append(kept)
            metrics.CONFLICTS_KEPT.set(len(self._kept))
        log.warning(
            "a version of a file that only this node had gave way to another and is kept; see "
            "'harmony-agent conflicts list'",
            extra={"file": path, "kept": key},
        )
        return key
