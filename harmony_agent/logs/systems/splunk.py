"""Splunk as a log system: HTTP Event Collector to deliver, management port to fetch back."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from harmony_agent.logs.event import Event
from harmony_agent.logs.query import Page, Query
from harmony_agent.logs.systems.interface import Limits, LogSystem, Receipt
from harmony_agent.logs.systems.splunk_delivery import LIMITS, HecDelivery
from harmony_agent.logs.systems.splunk_search import SplunkSearch
from harmony_agent.settings.model import SplunkLogSystem

__all__ = ["Splunk"]


class Splunk(LogSystem):
    """One Splunk deployment, by its HEC token and, for retrieval, a search token.

    `host` is the `host` of all events; with `system` only events of that Harmony system are fetched
    back. Raises Refused if a certificate file can't be used.
    """

    kind: ClassVar[str] = "splunk"
    limits: Limits = LIMITS

    def __init__(
        self, settings: SplunkLogSystem, *, host: str, ca_bundle: Path | None, system: str | None
    ) -> None:
        self._settings = settings
        self._ca_bundle = ca_bundle
        self._system = system
        self._delivery = HecDelivery(settings, host=host, ca_bundle=ca_bundle)

    @property
    def concurrency(self) -> int:
        """As LogSystem.concurrency."""
        return self._delivery.concurrency

    async def send(self, events: Sequence[Event]) -> Receipt:
        """As LogSystem.send; an event beyond 5 MB arrives shortened and is a dead letter."""
        return await self._delivery.send(events)

    async def search(self, query: Query) -> Page:
        """As LogSystem.search. What was sent in the last minute may not be searchable yet."""
        return await self._search.search(query)

    async def probe(self) -> str:
        """As LogSystem.probe; retrieval is tested if it is configured."""
        delivery = await self._delivery.probe()
        if self._settings.search_url is None:
            return f"{delivery}; retrieval is not configured (searchUrl, searchToken)"
        return f"{delivery}; {await self._search.probe()}"

    async def close(self) -> None:
        """As LogSystem.close."""
        if "_search" in self.__dict__:
            await self._search.close()
        await self._delivery.close()

    @cached_property
    def _search(self) -> SplunkSearch:
        # Made on the first question: delivery works without it.
        return SplunkSearch(self._settings, ca_bundle=self._ca_bundle, system=self._system)
