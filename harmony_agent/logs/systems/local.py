"""The embedded log store: `events.db` in the state directory, for this node's own events."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Final

from harmony_agent.core.errors import OutcomeUnknown, Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.logs.event import Event
from harmony_agent.logs.query import Page, Query
from harmony_agent.logs.systems.interface import Limits, LogSystem, Receipt
from harmony_agent.logs.systems.local_database import EventReader, EventWriter
from harmony_agent.logs.systems.local_query import select
from harmony_agent.settings.model import LocalLogSystem

__all__ = ["LocalStore"]

_WRITE_LIMIT: Final = 60.0  # seconds for a call
_SEARCH_LIMIT: Final = 20.0


class LocalStore(LogSystem):
    """Keeps events until they are too old or too many; each id once.

    One thread writes and another searches, so that a slow question holds up no delivery.
    """

    kind: ClassVar[str] = "local"
    limits = Limits(entries=2_000, size=4 * 1024 * 1024)

    def __init__(
        self,
        state_dir: Path,
        settings: LocalLogSystem,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = state_dir / "events.db"
        self._max_age = settings.max_age_seconds
        self._clock = clock
        self._writer = EventWriter(self._path, settings.max_bytes, clock)
        self._reader = EventReader(self._path)
        self._writing = Workers("local-store", 1)
        self._searching = Workers("local-search", 1)

    async def send(self, events: Sequence[Event]) -> Receipt:
        """Store a batch durably. Raises Unavailable if the database can't be used."""
        await self._writing.run(_WRITE_LIMIT, self._writer.insert, events)
        return Receipt(len(events))

    async def search(self, query: Query) -> Page:
        """Answer one page. Raises QueryError, and Unavailable if it takes too long."""
        try:
            return await self._searching.run(_SEARCH_LIMIT, self._reader.page, select(query))
        except OutcomeUnknown as error:
            self._reader.interrupt()
            raise Unavailable(
                f"the search took longer than {_SEARCH_LIMIT:g} s; narrow the time range"
            ) from error

    async def probe(self) -> str:
        """Prove that the database can be written. Raises Unavailable if not."""
        count = await self._writing.run(_WRITE_LIMIT, self._writer.count)
        return f"local store {self._path} holds {count} events"

    async def prune(self) -> int:
        """Delete what arrived longer ago than the settings allow; how many events that were.

        For the timetable: an hour's delay does no harm. The size is kept by `send`. Raises
        Unavailable if the database can't be used.
        """
        cutoff = int(self._clock() - self._max_age)
        deleted = 0
        while chunk := await self._writing.run(
            _WRITE_LIMIT, self._writer.delete_arrived_before, cutoff
        ):
            deleted += chunk
        return deleted

    async def close(self) -> None:
        """Close the database."""
        await self._writing.run(_WRITE_LIMIT, self._writer.close)
        await self._searching.run(_SEARCH_LIMIT, self._reader.close)
        self._writing.close()
        self._searching.close()
