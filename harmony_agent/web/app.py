"""All routes: probes and metrics open, everything else guarded; control commands on the socket."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harmony_agent.lifecycle.health import Health
from harmony_agent.web import page
from harmony_agent.web.access import Verdict, judge, judge_shell
from harmony_agent.web.answers import Endpoint, answering, json_answer, refuse
from harmony_agent.web.control import control_routes
from harmony_agent.web.logs import LogSearches
from harmony_agent.web.metrics import CONTENT_TYPE, Exposition
from harmony_agent.web.openapi import DOCUMENT
from harmony_agent.web.parts import Parts
from harmony_agent.web.probes import probe_routes
from harmony_agent.web.status import Status

__all__ = ["build_apps"]

Judge = Callable[..., Verdict]
Guard = Callable[[Judge, Endpoint], Endpoint]


def build_apps(parts: Parts) -> tuple[Starlette, Starlette]:
    """The application for TCP, and the one for the control socket.

    They are two, so that a command has no route at all on TCP, whatever a request looks like.
    """
    status, searches = Status(parts.health, parts.facts), LogSearches(parts.search)
    open_routes = [*probe_routes(parts.health), _metrics_route(parts.health)]

    def guarded(judge: Judge, endpoint: Endpoint) -> Endpoint:
        return _guarded(judge, parts.token, endpoint)

    def unguarded(_: Judge, endpoint: Endpoint) -> Endpoint:
        return endpoint

    tcp = [*open_routes, *_api_routes(status, searches, guarded), *_page_routes(guarded)]
    control = [*open_routes, *_api_routes(status, searches, unguarded), *control_routes(parts)]
    return _application(tcp), _application(control)


def _application(routes: list[Route]) -> Starlette:
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error})
    # A redirect would be built from the Host header, which anybody can set.
    app.router.redirect_slashes = False
    return app


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return refuse("there is nothing here; /api/openapi.json tells what there is", 404)
    return refuse(error.detail, error.status_code, error.headers)


def _metrics_route(health: Health) -> Route:
    exposition = Exposition(health)

    async def metrics(_: Request) -> Response:
        return Response(exposition.text(), media_type=CONTENT_TYPE)

    return Route("/metrics", metrics)


def _api_routes(status: Status, searches: LogSearches, guard: Guard) -> list[Route]:
    async def tell_status(_: Request) -> Response:
        return json_answer(status.gather())

    async def tell_api(_: Request) -> Response:
        return json_answer(DOCUMENT)

    endpoints = {
        "/api/status": tell_status,
        "/api/logs": searches.answer,
        "/api/openapi.json": tell_api,
    }
    return [
        Route(path, answering(path, guard(judge, endpoint))) for path, endpoint in endpoints.items()
    ]


def _page_routes(guard: Guard) -> list[Route]:
    endpoints = {"/": page.index, "/static/{name}": page.asset}
    return [
        Route(path, answering(path, guard(judge_shell, endpoint)))
        for path, endpoint in endpoints.items()
    ]


def _guarded(judge: Judge, token: Callable[[], str | None], endpoint: Endpoint) -> Endpoint:
    async def guarded(request: Request) -> Response:
        peer = request.client.host if request.client else None
        match judge(peer, request.scope["headers"], token()):
            case Verdict.UNAUTHENTICATED:
                return refuse(
                    "this needs the header 'Authorization: Bearer …' with the token of "
                    "HARMONY_AGENT_API_TOKEN",
                    401,
                    {"WWW-Authenticate": 'Bearer realm="harmony-agent"'},
                )
            case Verdict.FORBIDDEN:
                return refuse(
                    "without HARMONY_AGENT_API_TOKEN only the agent's own machine or pod gets an "
                    "answer, directly and under the name localhost, 127.0.0.1 or [::1]; set the "
                    "token to ask from elsewhere or through a proxy",
                    403,
                )
            case _:
                return await endpoint(request)

    return guarded
