"""`GET /api/logs`: log events back from the log system, whichever it is."""

import asyncio
from typing import Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from harmony_agent.core.errors import OutcomeUnknown, Unavailable
from harmony_agent.web.answers import BadRequest, json_answer
from harmony_agent.web.parts import Search

__all__ = ["LogSearches"]

# A page of 5,000 events is some megabytes: the bound keeps a crowd of askers within a pod's memory.
_AT_ONCE: Final = 4
_TURN_LIMIT: Final = 10.0  # seconds for a turn among those
_SEARCH_LIMIT: Final = 90.0  # seconds; the log systems' own limits are shorter


class LogSearches:
    """Few searches at once, each with a time limit; shared by TCP and control socket."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def answer(self, request: Request) -> Response:
        """The endpoint."""
        params = _single(request.query_params)
        await self._take_turn()
        try:
            async with asyncio.timeout(_SEARCH_LIMIT):
                return json_answer(dict(await self._search(params)))
        except TimeoutError as error:
            raise OutcomeUnknown(
                f"the log system has not answered within {_SEARCH_LIMIT:g} s; ask for a shorter "
                "time range"
            ) from error
        finally:
            self._turns.release()

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(_TURN_LIMIT):
                await self._turns.acquire()
        except TimeoutError as error:
            raise Unavailable(f"{_AT_ONCE} searches are running already; try again soon") from error


def _single(params: QueryParams) -> dict[str, str]:
    """Names and values; raises BadRequest if a name occurs twice."""
    single: dict[str, str] = {}
    for name, value in params.multi_items():
        if name in single:
            raise BadRequest(f"parameter {name[:60]!r} is given more than once; once is right")
        single[name] = value
    return single
