"""Delivers parked segments from a repository, and deletes them."""

import logging
from collections.abc import Collection
from typing import Final

from harmony_agent.core.errors import Absent, Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.logs.pipeline.deliver import Delivery
from harmony_agent.logs.pipeline.ledger import Ledger
from harmony_agent.logs.pipeline.segments import ParkedFolder, unpack

__all__ = ["Leftovers", "Redelivery"]

log = logging.getLogger(__name__)

_UNPACK_LIMIT: Final = 60.0  # seconds
_MOST_BEGUN: Final = 256  # segments whose progress is remembered
_AT_ONCE: Final = 16  # rows of the ledger


class Redelivery:
    """Segments, from the repository to the log system. What was broken off goes on where it was:
    a segment that can be read but not deleted must not be delivered again and again."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._workers = Workers("log-parked", 1)
        self._done: dict[tuple[str, str, str], int] = {}  # events, by folder, path and version

    async def deliver(self, folder: ParkedFolder, path: str, *, patient: bool) -> int:
        """Deliver one segment, then delete it; how many events it held, 0 if it is gone.

        Tries the log system for ever if `patient`, else raises Unavailable after a failure. Raises
        what the folder raises. A damaged segment is told and left where it is.
        """
        folder.claim()
        try:
            content = await folder.read(path)
            events = await self._workers.run(_UNPACK_LIMIT, unpack, content.data)
        except Absent:
            return 0
        except ValueError as error:
            log.error("parked events are damaged and left in %s: %s", path, error)
            return 0
        key = (folder.location, path, content.token)
        done = self._done.pop(key, 0)
        try:
            while done < len(events):
                taken = await self._delivery.attempt(events[done:])
                if not taken and not patient:
                    raise Unavailable("the log system takes nothing at this moment")
                done += taken
            await folder.remove(path, content.token)
        except BaseException:
            self._remember(key, done)
            raise
        return len(events)

    def close(self) -> None:
        """Give back the thread."""
        self._workers.close()

    def _remember(self, key: tuple[str, str, str], done: int) -> None:
        self._done[key] = done
        if len(self._done) > _MOST_BEGUN:
            del self._done[next(iter(self._done))]


class Leftovers:
    """Segments of this node's own folder whose events no log will bring: `strangers`, left by an
    earlier agent of which the ledger knows nothing, and what the ledger has as wanted."""

    def __init__(self, ledger: Ledger, redelivery: Redelivery) -> None:
        self._ledger = ledger
        self._redelivery = redelivery
        self.strangers: list[str] = []

    async def look(self, folder: ParkedFolder, own: Collection[str]) -> None:
        """Learn what is in `folder` besides this agent's `own`. Raises what the folder raises."""
        self.strangers = [path for path in await folder.paths() if path not in own]

    async def deliver(self, folder: ParkedFolder) -> None:
        """Deliver all there is, however long that takes. Raises what folder and ledger raise."""
        delivered = 0
        while self.strangers:
            # One that can't be delivered now must not be in the others' way.
            self.strangers.append(self.strangers.pop(0))
            delivered += await self._redelivery.deliver(folder, self.strangers[-1], patient=True)
            self.strangers.pop()
        if delivered:
            log.info("parked log events are delivered", extra={"events": delivered})
        if self._ledger.events:
            for row in await self._ledger.wanted(_AT_ONCE):
                delivered = await self._redelivery.deliver(folder, row.path, patient=True)
                await self._ledger.remove([row])
                log.info("log events that the log lost are delivered", extra={"events": delivered})
