"""`POST /control/<command>`: what `harmony-agent sync` and the like ask of a running agent.

These routes exist on the control socket only, which no other user can open.
"""

import asyncio
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from harmony_agent.web.answers import BadRequest, Endpoint, answering, json_answer
from harmony_agent.web.parts import Command, Parts

__all__ = ["control_routes"]

_MOST_BODY: Final = 64 * 1024  # bytes
_BODY_LIMIT: Final = 10.0  # seconds


def control_routes(parts: Parts) -> list[Route]:
    """One route per command."""
    return [
        Route(
            f"/control/{name}",
            answering(f"/control/{name}", _endpoint(command)),
            methods=["POST"],
        )
        for name, command in parts.commands.items()
    ]


def _endpoint(command: Command) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return json_answer(dict(await command(await _arguments(request))))

    return endpoint


async def _arguments(request: Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object."""
    try:
        async with asyncio.timeout(_BODY_LIMIT):
            body = await _body(request)
    except (TimeoutError, ClientDisconnect) as error:
        raise BadRequest("the request's body did not arrive") from error
    try:
        arguments = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise BadRequest('the body must be a JSON object such as {"dryRun": true}')
    return arguments


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BODY:
            raise BadRequest(f"the body must not exceed {_MOST_BODY} bytes")
    return bytes(body)
