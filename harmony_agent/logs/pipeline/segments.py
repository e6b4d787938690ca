"""Segments: log events in files of a node's runtime folder, until they are delivered."""

import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from harmony_agent.core.errors import PreconditionFailed, Unavailable
from harmony_agent.logs.event import Event
from harmony_agent.logs.systems.encoding import to_json
from harmony_agent.repositories.interface import Content, Repository, Token

__all__ = ["ParkedFolder", "Segment", "pack", "unpack"]

_SUFFIX: Final = ".jsonl.gz"


@dataclass(frozen=True, slots=True)
class Segment:
    """A packed segment: its file name and content, and how many events it holds."""

    name: str
    data: bytes
    events: int


def pack(events: Sequence[Event]) -> Segment:
    """`events` as one segment.

    Names sort in the order of events. The same events give the same name, so that trying again
    after a lost answer is no repeat.
    """
    first = events[0]
    moment = f"{first.time:%Y%m%dT%H%M%SZ}-{first.number:012}"
    lines = b"".join(to_json(event.to_json()) + b"\n" for event in events)
    return Segment(
        f"{moment}-{first.id[:16]}-{len(events)}{_SUFFIX}",
        gzip.compress(lines, 1, mtime=0),
        len(events),
    )


def unpack(data: bytes) -> list[Event]:
    """The events of a segment. Raises ValueError if it is damaged."""
    try:
        return [Event.from_json(json.loads(line)) for line in gzip.decompress(data).splitlines()]
    except (OSError, EOFError, zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"not a segment of parked events: {error}") from error


class ParkedFolder:
    """The segments of one node, in `folder` of its runtime `repository`.

    Changes raise Unavailable while `may_write` says that the node's lease is not ours; all methods
    raise what the repository raises.
    """

    def __init__(self, repository: Repository, folder: str, may_write: Callable[[], bool]) -> None:
        self._repository = repository
        self._folder = folder
        self._may_write = may_write

    @property
    def location(self) -> str:
        """Where it is, for people."""
        return self._repository.location

    def claim(self) -> None:
        """Raises Unavailable while the node's lease is not ours."""
        if not self._may_write():
            raise Unavailable(f"the lease of {self._repository.location} is not ours")

    async def put(self, segment: Segment) -> tuple[str, Token]:
        """Write it, unless exactly these events are there already; its path and version."""
        self.claim()
        path = f"{self._folder}/{segment.name}"
        try:
            return path, await self._repository.create(path, segment.data)
        except PreconditionFailed:
            found = await self._repository.stat(path)
            if found is None:
                raise Unavailable(f"{path} came and went") from None
            return path, found.token

    async def paths(self) -> list[str]:
        """All segments, oldest first."""
        paths = [entry.path for entry in await self._repository.list(self._folder)]
        return sorted(path for path in paths if path.endswith(_SUFFIX))

    async def read(self, path: str) -> Content:
        """One segment; raises Absent if it is gone."""
        return await self._repository.read(path)

    async def remove(self, path: str, token: Token) -> None:
        """Delete that version; nothing if it is gone. Another version stays, and is no error."""
        self.claim()
        try:
            await self._repository.delete(path, token)
        except PreconditionFailed:
            return
