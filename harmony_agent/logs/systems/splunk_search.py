"""Retrieval from Splunk's management port by splunk-sdk, in a thread."""

import asyncio
import http.client
import logging
import ssl
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

import orjson

from harmony_agent.core.errors import AgentError, Refused, Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.logs.query import Page, Query, QueryError
from harmony_agent.logs.systems import splunk_spl as spl
from harmony_agent.logs.systems.http import client_context, failure
from harmony_agent.logs.systems.questions import check, pack_cursor, unpack_cursor, value
from harmony_agent.settings.model import SplunkLogSystem

__all__ = ["SplunkSearch"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_NAME: Final = "Splunk search"
_CALL_LIMIT: Final = 30.0
_SEARCH_LIMIT: Final = 60.0
_POLL_FIRST: Final = 0.1
_POLL_CEILING: Final = 2.0
# Splunk drops a job by itself when its agent died: seconds without a look at it.
_ABANDONED: Final = 120


class SplunkSearch:
    """Searches the events of one index (or all that the token may read) over port 8089.

    A page goes on where its cursor ends by time, EN and id, not by the position in a job: a job
    expires, and new events would shift the positions.

    Raises Refused at once if splunk-sdk, searchUrl or searchToken is missing.
    """

    def __init__(
        self, settings: SplunkLogSystem, *, ca_bundle: Path | None, system: str | None
    ) -> None:
        if settings.search_url is None or settings.search_token is None:
            raise Refused(
                "logs can't be fetched back from Splunk: set searchUrl (management port, such as "
                "https://splunk.example.com:8089) and searchToken in the secret cleo-log-system"
            )
        self._settings = settings
        self._system = system
        self._context = client_context(ca_bundle, settings.ca_bundle)
        self._workers = Workers("splunk-search", 4)
        self._service: Any = None

    async def search(self, query: Query) -> Page:
        """As LogSystem.search."""
        check(query)
        cursor = unpack_cursor(query)
        after = _place(cursor) if cursor else None
        wanted = query.start_index + query.count
        text = spl.search_text(
            query,
            index=self._settings.index,
            sourcetype=self._settings.sourcetype,
            system=self._system,
            after=after,
            rows=wanted + 1,  # one more tells whether there is a next page
        )
        job = await self._run(self._create, text, spl.time_bounds(query))
        try:
            content = await self._finished(job)
            rows = await self._run(self._rows, job, query.start_index, query.count)
        finally:
            await self._forget(job)
        total = value(cursor, "total", int) if cursor else int(content["eventCount"])
        more = int(content["resultCount"]) > wanted and bool(rows)
        following = pack_cursor(query, _end(rows[-1], total)) if more else None
        return Page(total, [event for event in map(_event, rows) if event is not None], following)

    async def probe(self) -> str:
        """Prove that the token is known and may search."""
        capabilities = await self._run(self._capabilities)
        if "search" not in capabilities:
            raise Refused(
                "Splunk knows searchToken, but its role lacks the capability `search`: grant it"
            )
        return "the search token may search"

    async def close(self) -> None:
        """Give back the threads."""
        self._workers.close()

    async def _finished(self, job: Any) -> Any:
        wait = _POLL_FIRST
        try:
            async with asyncio.timeout(_SEARCH_LIMIT):
                while not await self._run(job.is_done):
                    await asyncio.sleep(wait)
                    wait = min(_POLL_CEILING, 2 * wait)
        except TimeoutError as error:
            raise Unavailable(
                f"Splunk has not finished the search within {_SEARCH_LIMIT:g} s; "
                "ask for a shorter time"
            ) from error
        content = job.state.content
        if content.get("isFailed") == "1" or content.get("isFinalized") == "1":
            raise Unavailable(f"Splunk broke off the search: {_messages(content)}")
        return content

    async def _forget(self, job: Any) -> None:
        """Delete the job, which counts against the role's quota of jobs."""
        try:
            await self._run(_cancel, job)
        except AgentError as error:
            log.debug("a search job was left to expire", extra={"error": str(error)})

    async def _run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._workers.run(_CALL_LIMIT + 5, call, *args, **kwargs)
        except (AgentError, QueryError):
            raise
        except Exception as error:
            translated = _translate(error)
            if translated is None:
                raise
            raise translated from error

    # The rest runs in a thread.

    def _connected(self) -> Any:
        if self._service is None:
            try:
                from splunklib import binding, client  # noqa: PLC0415 - 22 MiB only where it is used
            except ImportError as error:
                raise Refused(
                    "splunk-sdk is not installed; install harmony-agent[splunk]"
                ) from error
            assert self._settings.search_url
            assert self._settings.search_token
            url = urlsplit(self._settings.search_url)
            self._service = client.Service(
                # The SDK's own handler has no time limit and verifies nothing unless told so.
                handler=binding.handler(timeout=_CALL_LIMIT, verify=True, context=self._context),
                scheme=url.scheme,
                host=url.hostname,
                port=url.port or 8089,
                splunkToken=self._settings.search_token.get_secret_value(),
                autologin=False,
            )
        return self._service

    def _create(self, text: str, bounds: dict[str, str]) -> Any:
        return self._connected().jobs.create(
            text,
            **bounds,
            exec_mode="normal",
            adhoc_search_level="fast",
            status_buckets=0,
            auto_cancel=_ABANDONED,
            timeout=_ABANDONED,
        )

    def _rows(self, job: Any, offset: int, count: int) -> list[dict[str, Any]]:
        if not count:
            return []
        reader = job.results(output_mode="json", offset=offset, count=count)
        return list(orjson.loads(reader.read()).get("results", []))

    def _capabilities(self) -> list[str]:
        response = self._connected().get("authentication/current-context", output_mode="json")
        content = orjson.loads(response.body.read())["entry"][0]["content"]
        return list(content.get("capabilities", []))


def _cancel(job: Any) -> None:
    # Not job.cancel(), which leaves the answer unread and its socket open.
    job.post("control", action="cancel").body.read()


def _event(row: dict[str, Any]) -> dict[str, Any] | None:
    """The event of one result; None if it is not the agent's JSON."""
    try:
        event = orjson.loads(row.get("_raw", ""))
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _end(row: dict[str, Any], total: int) -> dict[str, Any]:
    """What the cursor holds: the place of the page's last result, and the first page's total."""
    return {
        "ms": int(float(row["harmony_ms"])),
        "n": int(row["harmony_number"]),
        "id": str(row["harmony_id"]),
        "total": total,
    }


def _place(cursor: dict[str, Any]) -> spl.Place:
    return spl.Place(value(cursor, "ms", int), value(cursor, "n", int), value(cursor, "id", str))


def _messages(content: Any) -> str:
    """What Splunk says about a job, as one line."""
    found = content.get("messages") or "no reason given"
    return str(found)[:500]


def _translate(error: Exception) -> AgentError | None:
    """The SDK's and the network's exceptions in the agent's words; None for our own mistakes."""
    status = getattr(error, "status", None)  # splunklib.binding.HTTPError
    if isinstance(status, int):
        return _refusal(status, str(error))
    if isinstance(error, (ssl.SSLError, OSError, http.client.HTTPException)):
        return failure(_NAME, error)
    if isinstance(error, (ET.ParseError, ValueError, KeyError, AttributeError, IndexError)):
        # The SDK takes every answer for Splunk's XML and stumbles over a proxy's page.
        return Unavailable(
            f"{_NAME}: the answer is not Splunk's; check that searchUrl leads to the management "
            f"port, 8089 by default ({type(error).__name__})"
        )
    return None


def _refusal(status: int, words: str) -> AgentError:
    words = words[:500]
    if status == 401:
        return Refused(f"{_NAME}: searchToken is not accepted ({words}); a HEC token can't search")
    if status == 403:
        return Refused(f"{_NAME}: the role of searchToken may not do this ({words})")
    if status == 400:
        return Refused(f"{_NAME}: the search is not accepted ({words})")
    # 503 is Splunk's answer to more jobs than the role's quota (srchJobsQuota) allows.
    return Unavailable(f"{_NAME}: {words}")
