"""Delivers parked segments from a repository, and deletes them."""

import logging
from typing import Final

from harmony_agent.core.errors import Absent, Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.logs.pipeline.deliver import Delivery
from harmony_agent.logs.pipeline.segments import ParkedFolder, unpack

__all__ = ["Redelivery"]

log = logging.getLogger(__name__)

_UNPACK_LIMIT: Final = 60.0  # seconds


class Redelivery:
    """Segments, from the repository to the log system."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._workers = Workers("log-parked", 1)

    async def deliver(self, folder: ParkedFolder, path: str, *, patient: bool) -> int:
        """Deliver one segment, then delete it; how many events it held, 0 if it is gone.

        Tries the log system for ever if `patient`, else raises Unavailable after a failure. Raises
        what the folder raises. A damaged segment is told and left where it is.
        """
        try:
            content = await folder.read(path)
            events = await self._workers.run(_UNPACK_LIMIT, unpack, content.data)
        except Absent:
            return 0
        except ValueError as error:
            log.error("parked events are damaged and left in %s: %s", path, error)
            return 0
        rest = events
        while rest:
            done = await self._delivery.attempt(rest)
            if not done and not patient:
                raise Unavailable("the log system takes nothing at this moment")
            rest = rest[done:]
        await folder.remove(path, content.token)
        return len(events)

    def close(self) -> None:
        """Give back the thread."""
        self._workers.close()
