"""JSON answers, and which HTTP status an error becomes."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    Unavailable,
)
from harmony_agent.core.redaction import redact
from harmony_agent.web.metrics import ANSWERS

__all__ = ["BadRequest", "Endpoint", "answering", "failure", "json_answer", "refuse", "starred"]

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

_RETRY_AFTER = 5  # seconds, where the other side named none


class BadRequest(AgentError):
    """The request itself is wrong: names the parameter and what would be right."""


def json_answer(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`content` as JSON, to be kept by nobody on the way."""
    return Response(
        orjson.dumps(content),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )


def failure(error: AgentError) -> tuple[int, dict[str, str]]:
    """HTTP status and headers for an error of the parts behind the API.

    The type decides: what may pass by itself is 503 (504 if no answer came in time), what a
    person has to mend behind the agent is 502. What is left is about the question: 400.
    """
    match error:
        case OutcomeUnknown():
            return 504, {}
        case Unavailable():
            return 503, {"Retry-After": str(max(1, math.ceil(error.retry_after or _RETRY_AFTER)))}
        case Refused() | Absent() | PreconditionFailed():
            return 502, {}
        case _:
            return 400, {}


def refuse(message: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An error in Harmony's own shape: `{"message": …}`, secrets starred."""
    return json_answer({"message": redact(message)}, status, headers)


def answering(name: str, endpoint: Endpoint) -> Endpoint:
    """`endpoint` with its errors turned into answers, and each answer counted under `name`."""

    async def counted(request: Request) -> Response:
        response = await _answer(name, endpoint, request)
        ANSWERS.labels(name, response.status_code).inc()
        return response

    return counted


async def _answer(name: str, endpoint: Endpoint, request: Request) -> Response:
    try:
        return await endpoint(request)
    except AgentError as error:
        status, headers = failure(error)
        return refuse(str(error), status, headers)
    except asyncio.CancelledError:
        # Only the server cancels a request's task, when the agent ends: the asker is told, and
        # uvicorn has no traceback to log.
        return refuse("the agent is ending; ask again after its restart", 503)
    except HTTPException:
        raise  # Starlette's own: a client that went away
    except Exception:
        # The last line of defense: a bug behind one endpoint must not end as a bare connection.
        log.exception("an answer failed", extra={"endpoint": name})
        return refuse("the agent failed to answer; its own log tells why", 500)


def starred(value: Any) -> Any:
    """JSON values with every known secret replaced by stars, wherever a string stands."""
    match value:
        case str():
            return redact(value)
        case Mapping():
            return {key: starred(item) for key, item in value.items()}
        case list() | tuple():
            return [starred(item) for item in value]
        case _:
            return value
