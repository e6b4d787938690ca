"""Events that could not be delivered before the end: put into the runtime repository, and
delivered from there after the next start."""

import gzip
import json
import logging
import zlib
from collections.abc import Sequence
from typing import Final

from harmony_agent.core.errors import PreconditionFailed
from harmony_agent.logs.event import Event
from harmony_agent.logs.systems.encoding import to_json
from harmony_agent.repositories.interface import Repository

__all__ = ["park", "parked_segments", "unpack"]

log = logging.getLogger(__name__)

_SUFFIX: Final = ".jsonl.gz"


async def park(repository: Repository, folder: str, events: Sequence[Event]) -> None:
    """Write `events` as one segment into `folder`, unless exactly these are there already.

    Raises what `Repository.create` raises.
    """
    first = events[0]
    # Names sort in the order of events. The same events give the same name, so that trying again
    # after a lost answer is no repeat.
    moment = f"{first.time:%Y%m%dT%H%M%SZ}-{first.number:012}"
    name = f"{moment}-{first.id[:16]}-{len(events)}{_SUFFIX}"
    lines = b"".join(to_json(event.to_json()) + b"\n" for event in events)
    try:
        await repository.create(f"{folder}/{name}", gzip.compress(lines, 1, mtime=0))
    except PreconditionFailed:
        log.debug("these events are parked already", extra={"segment": name})


async def parked_segments(repository: Repository, folder: str) -> list[str]:
    """The paths of the segments in `folder`, oldest first. Raises what `Repository.list` raises."""
    paths = [entry.path for entry in await repository.list(folder)]
    return sorted(path for path in paths if path.endswith(_SUFFIX))


def unpack(data: bytes) -> list[Event]:
    """The events of a segment. Raises ValueError if it is damaged."""
    try:
        return [Event.from_json(json.loads(line)) for line in gzip.decompress(data).splitlines()]
    except (OSError, EOFError, zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"not a segment of parked events: {error}") from error
