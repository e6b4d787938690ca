"""Delivers the log events that a node parked before it was lost for good.

A node with parked events is named in the system's folder of the runtime repository, so that the
others find it with one small listing. Its own folder is written under its lease only: who adopts
takes that lease, for at most a minute at a time, so that a node which comes back soon has it.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
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
_BLIND: Final = 3  # pauses without a look
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
    """The version of a lease that was seen, since when, and last when; moments of `boot_time`."""

    version: str | None
    since: float
    seen: float


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
        self._pause = min(_LONGEST_PAUSE, after / _SHARE)
        self._absences: dict[str, _Absence] = {}

    async def run(self) -> None:
        """Look and deliver, for ever."""
        await self._storage.own_runtime()
        while True:
            unfinished = False
            # With a log system that takes nothing, a lease would be taken for nothing.
            if self._stream.delivers:
                try:
                    unfinished = await self.look()
                except (AgentError, OSError) as error:
                    log.warning("whether lost nodes parked log events can't be seen: %s", error)
                except Exception:  # other nodes' trouble must not end this one
                    log.exception("whether lost nodes parked log events can't be seen")
            # Not all nodes at the same moment.
            wait = self._pause * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not cryptography
            await asyncio.sleep(_BETWEEN if unfinished else wait)

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
            except (AgentError, OSError) as error:
                log.warning("the parked log events of %s can't be delivered yet: %s", node, error)
        return unfinished

    async def _consider(self, node: str) -> bool:
        """Adopt what `node` parked if it is away for long enough; whether there is more."""
        async with self._storage.visit(node) as repository:
            found = await _lease(repository)
            since = self._away_since(node, found.token if found else None)
            if self._clock() - since < self._after:
                return False
            lease = Lease.abandoned(repository, self._storage.identity, self._node, found, since)
            try:
                if not await lease.take():
                    return False  # it came back, or another node was faster
                return not await self._deliver(node, repository, lease)
            finally:
                released = await lease.release()
                if released is not None:  # what we gave back ourselves is no sign of life
                    now = self._clock()
                    self._absences[node] = _Absence(released, now - self._after, now)

    def _away_since(self, node: str, version: str | None) -> float:
        """Since when `node` has not renewed its lease, now seen as `version`.

        After a time in which nobody could look, the count begins anew: `node` could not renew it
        either.
        """
        now, absence = self._clock(), self._absences.get(node)
        known = absence is not None and absence.version == version
        if absence is None or not known or now - absence.seen > _BLIND * self._pause:
            absence = _Absence(version, now, now)
        self._absences[node] = replace(absence, seen=now)
        return absence.since

    async def _deliver(self, node: str, repository: Repository, lease: Lease) -> bool:
        """Deliver what `node` parked, as far as there is time; whether that was all."""
        folder = ParkedFolder(repository, PARKED, lease.may_write)
        log.info("delivering the parked log events of %s, which is lost", node)
        try:
            async with asyncio.timeout(_TURN):
                events = await self._stream.deliver_parked(folder)
                async with self._storage.visit(None) as system:
                    folder.claim()
                    await _unname(system, node)
        except TimeoutError:
            return False
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
