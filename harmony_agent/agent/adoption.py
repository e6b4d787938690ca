"""Delivers the log events that a node parked before it was lost for good.

A node with parked events is named in the system's folder of the runtime repository, so that the
others find it with one small listing. Its own folder is written under its lease only: who adopts
takes that lease, for at most a minute at a time, so that a node which comes back soon has it.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harmony_agent.agent.storage import Storage
from harmony_agent.core.errors import Absent, AgentError, PreconditionFailed
from harmony_agent.logs.pipeline.parking import Announce
from harmony_agent.logs.pipeline.segments import ParkedFolder
from harmony_agent.logs.stream import LogStream
from harmony_agent.repositories.interface import Content, Repository
from harmony_agent.repositories.layout import LEASE, PARKED, PARKED_BY
from harmony_agent.repositories.lease import Lease, boot_time

__all__ = ["Adoption", "announce"]

log = logging.getLogger(__name__)

_LONGEST_PAUSE: Final = 600.0  # seconds between looks at who has parked anything
_SHARE: Final = 6  # looks in the time that a node may be away
_TURN: Final = 50.0  # seconds of the minute that a lease is taken for
# Seconds between turns; a node that waits for its lease looks at it each ten.
_BETWEEN: Final = 30.0


def announce(storage: Storage, node: str) -> Announce:
    """What tells the other nodes whether `node` has parked anything."""

    async def tell(parked: bool) -> None:
        async with storage.visit(None) as repository:
            if parked:
                await _name(repository, node)
            else:
                await _unname(repository, node)

    return tell


@dataclass(frozen=True, slots=True)
class _Absence:
    """The version of a lease that was seen, and since when; a moment of `boot_time`."""

    version: str | None
    since: float


class Adoption:
    """Watches the leases of nodes with parked events; `after` seconds without a change mean that
    a node does not come back. Clocks of other machines are never looked at."""

    def __init__(
        self,
        storage: Storage,
        stream: LogStream,
        *,
        node: str,
        after: float,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._storage = storage
        self._stream = stream
        self._node = node
        self._after = after
        self._clock = clock
        self._absences: dict[str, _Absence] = {}

    async def run(self) -> None:
        """Look and deliver, for ever."""
        await self._storage.own_runtime()
        pause = min(_LONGEST_PAUSE, self._after / _SHARE)
        while True:
            unfinished = False
            # With a log system that takes nothing, a lease would be taken for nothing.
            if self._stream.delivers:
                try:
                    unfinished = await self.look()
                except AgentError as error:
                    log.warning("whether lost nodes parked log events can't be seen: %s", error)
            # Not all nodes at the same moment.
            await asyncio.sleep(_BETWEEN if unfinished else pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret

    async def look(self) -> bool:
        """One round over all nodes that have parked events; whether one is begun, but not done.
        Raises AgentError."""
        async with self._storage.visit(None) as repository:
            entries = await repository.list(PARKED_BY)
        nodes = {entry.path.removeprefix(f"{PARKED_BY}/") for entry in entries} - {self._node}
        self._absences = {n: seen for n, seen in self._absences.items() if n in nodes}
        unfinished = False
        for node in sorted(nodes):
            try:
                unfinished |= await self._consider(node)
            except AgentError as error:
                log.warning("the parked log events of %s can't be delivered yet: %s", node, error)
        return unfinished

    async def _consider(self, node: str) -> bool:
        """Adopt what `node` parked if it is away for long enough; whether there is more."""
        async with self._storage.visit(node) as repository:
            found = await _lease(repository)
            version = found.token if found else None
            absence = self._absences.get(node)
            if absence is None or absence.version != version:
                self._absences[node] = _Absence(version, self._clock())
                return False
            if self._clock() - absence.since < self._after:
                return False
            lease = Lease.abandoned(
                repository, self._storage.identity, self._node, found, absence.since
            )
            if not await lease.take():
                return False  # it came back, or another node was faster
            try:
                return not await self._deliver(node, repository, lease)
            finally:
                # What we gave back ourselves is no sign of life.
                released = await lease.release()
                self._absences[node] = _Absence(released, self._clock() - self._after)

    async def _deliver(self, node: str, repository: Repository, lease: Lease) -> bool:
        """Deliver what `node` parked, as far as there is time; whether that was all."""
        folder = ParkedFolder(repository, PARKED, lease.may_write)
        log.info("delivering the parked log events of %s, which is lost", node)
        try:
            async with asyncio.timeout(_TURN):
                events = await self._stream.deliver_parked(folder)
        except TimeoutError:
            return False
        async with self._storage.visit(None) as system:
            await _unname(system, node)
        log.info("the parked log events of %s are delivered", node, extra={"events": events})
        return True


async def _lease(repository: Repository) -> Content | None:
    try:
        return await repository.read(LEASE)
    except Absent:
        return None


async def _name(repository: Repository, node: str) -> None:
    try:
        await repository.create(f"{PARKED_BY}/{node}", f"{node}\n".encode())
    except PreconditionFailed:
        return  # it is there already


async def _unname(repository: Repository, node: str) -> None:
    path = f"{PARKED_BY}/{node}"
    entry = await repository.stat(path)
    if entry is not None:
        try:
            await repository.delete(path, entry.token)
        except PreconditionFailed:
            log.debug("%s was written anew", path)
