"""Retrieval from Datadog's logs search v2 by datadog-api-client, in a thread."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.core.tls import combined_bundle
from harmony_agent.logs.query import Page, Query
from harmony_agent.logs.systems.datadog_intake import NAMESPACE
from harmony_agent.logs.systems.datadog_query import (
    Found,
    join_parts,
    ordered,
    query_text,
    quoted,
    read_log,
    time_range,
)
from harmony_agent.logs.systems.questions import check, pack_cursor, unpack_cursor, value
from harmony_agent.settings.model import DatadogLogSystem

if TYPE_CHECKING:  # loaded with the first question
    from harmony_agent.logs.systems.datadog_sdk import Client, Search

__all__ = ["DatadogSearch", "api_url"]

_LIMIT: Final = 35.0  # seconds; the client's own limit is 30
_LARGEST_PAGE: Final = 1000
# Repeats of an event have its time, so they lie near each other: so many ids behind the end of a
# page are remembered by the cursor, by short hashes.
_REMEMBERED: Final = 100


def api_url(settings: DatadogLogSystem) -> str:
    """The base URL of Datadog's API for the site."""
    return settings.search_url or f"https://api.{settings.site}"


class DatadogSearch:
    """Searches one index (or all) by API key and application key.

    Raises Refused at once if appKey is missing or a certificate file can't be used.
    """

    def __init__(
        self,
        settings: DatadogLogSystem,
        *bundles: Path | None,
        state_dir: Path,
        system: str | None,
    ) -> None:
        if settings.app_key is None:
            raise Refused(
                "logs can't be fetched back from Datadog: set appKey, an application key with "
                "logs_read_data, in the secret cleo-log-system"
            )
        self._settings = settings
        self._system = system
        self._app_key = settings.app_key
        self._bundles = bundles
        # A folder of its own: the file's name is fixed, its content differs between services.
        self._directory = state_dir / "datadog"
        self._workers = Workers("datadog-search", 4)
        self._client: Client | None = None

    async def search(self, query: Query) -> Page:
        """As LogSystem.search.

        `startIndex` is reached by walking there, up to a thousand logs a step. The total counts
        logs, so a repeat or a further part of a long event counts as well.
        """
        check(query)
        cursor = unpack_cursor(query)
        first, last = time_range(query, datetime.now(UTC))
        after, seen = None, list[str]()
        if cursor:
            first, last = value(cursor, "from", int), value(cursor, "to", int)
            after, seen = value(cursor, "after", str), [str(i) for i in value(cursor, "seen", list)]
        search = self._filter(query_text(query, self._system), first, last)
        total = value(cursor, "total", int) if cursor else await self._count(search)
        events, after = await self._walk(query, search, after, seen)
        following = None
        if after is not None:
            place = {"after": after, "from": first, "to": last, "total": total}
            following = pack_cursor(query, {**place, "seen": seen[-_REMEMBERED:]})
        return Page(total, events, following)

    async def probe(self) -> None:
        """Prove that the keys may read logs. Raises Unavailable or Refused."""
        first, last = time_range(Query(), datetime.now(UTC))
        await self._list(
            self._filter(query_text(Query(), self._system), first, last), "desc", 1, None
        )

    async def close(self) -> None:
        """Give back connections and threads."""
        if self._client is not None:
            self._client.close()
        self._workers.close()

    async def _walk(
        self, query: Query, search: "Search", after: str | None, seen: list[str]
    ) -> tuple[list[dict[str, Any]], str | None]:
        """The events of the page, and where Datadog goes on after it (None: nowhere). The
        events that were passed are marked in `seen`."""
        skip, events = query.start_index, list[dict[str, Any]]()
        while len(events) < query.count:
            # Never more than what is left, so that the page ends where Datadog's cursor stands.
            limit = min(_LARGEST_PAGE, skip + query.count - len(events))
            logs, after = await self._list(search, query.order, limit, after)
            found = ordered((log for log in map(read_log, logs) if log), query.order)
            for group in _new_events(found, seen):
                if skip:
                    skip -= 1
                else:
                    events.append(await self._whole(search, group))
            if after is None:
                break
        return events, after

    async def _whole(self, search: "Search", group: list[Found]) -> dict[str, Any]:
        """One event of its parts; those that lie on other pages are fetched."""
        if len({found.part.number for found in group}) < group[0].part.count:
            text = f"{search[0]} @{NAMESPACE}.id:{quoted(group[0].id)}"
            logs, _ = await self._list((text, *search[1:]), "asc", _LARGEST_PAGE, None)
            group = group + [log for log in map(read_log, logs) if log]
        return join_parts(group)

    def _filter(self, text: str, first: int, last: int) -> tuple[str, int, int, str]:
        return text, first, last, self._settings.index or "*"

    async def _count(self, search: "Search") -> int:
        answer = await self._ask(lambda client: client.count(search))
        buckets = (answer.get("data") or {}).get("buckets") or [{}]
        return int((buckets[0].get("computes") or {}).get("c0") or 0)

    async def _list(
        self, search: "Search", order: str, limit: int, after: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        answer = await self._ask(lambda client: client.list(search, order, limit, after))
        following = ((answer.get("meta") or {}).get("page") or {}).get("after")
        return list(answer.get("data") or []), str(following) if following else None

    async def _ask(self, question: Callable[["Client"], dict[str, Any]]) -> dict[str, Any]:
        answer = await self._workers.run(_LIMIT, lambda: question(self._connected()))
        if (answer.get("meta") or {}).get("status") == "timeout":
            raise Unavailable("Datadog gave up with a part of the answer; ask for a shorter time")
        return answer

    def _connected(self) -> "Client":
        """In a thread: the import takes a while, and files are written."""
        if self._client is None:
            try:
                from harmony_agent.logs.systems.datadog_sdk import Client  # noqa: PLC0415 - 30 MiB
            except ImportError as error:
                raise Refused(
                    "datadog-api-client is not installed; install harmony-agent[datadog]"
                ) from error
            try:
                self._directory.mkdir(parents=True, exist_ok=True)
                ca_file = combined_bundle(self._directory, *self._bundles)
            except OSError as error:
                raise Refused(f"the CA bundle for Datadog can't be prepared ({error})") from error
            self._client = Client(
                api_url(self._settings),
                self._settings.api_key.get_secret_value(),
                self._app_key.get_secret_value(),
                ca_file,
            )
        return self._client


def _new_events(found: list[Found], seen: list[str]) -> list[list[Found]]:
    """`found` by event, in order, without those marked in `seen`; adds their marks to it."""
    known = set(seen)
    groups: dict[str, list[Found]] = {}
    for log in found:
        if _mark(log.id) not in known:
            groups.setdefault(log.id, []).append(log)
    seen.extend(map(_mark, groups))
    return list(groups.values())


def _mark(event_id: str) -> str:
    return hashlib.blake2b(event_id.encode(), digest_size=6).hexdigest()
