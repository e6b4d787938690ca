"""The probes, in kube-apiserver's format, answered from memory.

    [+]repositories ok
    [!]log-system trouble: Splunk answers 503
    [-]draining failed: Harmony is being stopped
    readyz check failed

Like there, a good answer is just `ok` unless `?verbose` asks for the lines, and a bad one always
has them (kubernetes/apiserver, pkg/server/healthz/healthz.go); unlike there, a bad one is 503.
"""

from collections.abc import Callable, Collection, Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from harmony_agent.core.redaction import redact
from harmony_agent.lifecycle.health import Condition, Health, Level

__all__ = ["examine", "probe_routes"]

Conditions = Callable[[], Sequence[Condition]]


def examine(
    probe: str, conditions: Sequence[Condition], *, excluded: Collection[str] = (), verbose: bool
) -> tuple[int, str]:
    """Status code and text of a probe; `excluded` names conditions that don't count."""
    lines = [
        f"[+]{condition.name} excluded: ok" if condition.name in excluded else _line(condition)
        for condition in conditions
    ]
    strangers = sorted(set(excluded) - {condition.name for condition in conditions})
    if strangers:
        names = ", ".join(f'"{_one_line(name)}"' for name in strangers)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
    failed = any(
        condition.level is Level.FAILED and condition.name not in excluded
        for condition in conditions
    )
    if failed:
        return 503, "\n".join([*lines, f"{probe} check failed", ""])
    if verbose:
        return 200, "\n".join([*lines, f"{probe} check passed", ""])
    return 200, "ok"


def _line(condition: Condition) -> str:
    match condition.level:
        case Level.OK:
            return f"[+]{condition.name} ok"
        case Level.TROUBLE:
            return f"[!]{condition.name} trouble: {_one_line(condition.message)}"
        case Level.FAILED:
            return f"[-]{condition.name} failed: {_one_line(condition.message)}"


def _one_line(text: str) -> str:
    return redact(" ".join(text.split()))


def probe_routes(health: Health) -> list[Route]:
    """Routes of all probes, each also asked for one check by `/<probe>/<check>`."""

    def liveness() -> Sequence[Condition]:
        # kube-apiserver's own first check: that this line is written shows the event loop turns.
        return [Condition("ping", Level.OK), *health.stalled()]

    def harmony() -> Sequence[Condition]:
        if health.harmony_may_run:
            return [Condition("license", Level.OK)]
        return [Condition("license", Level.FAILED, "refused, or its grace period is over")]

    return [
        *_routes("livez", liveness),
        *_routes("startupz", health.startup),
        *_routes("readyz", health.conditions),
        *_routes("harmony/livez", harmony),
    ]


def _routes(probe: str, conditions: Conditions) -> list[Route]:
    async def whole(request: Request) -> Response:
        status, text = examine(
            probe,
            conditions(),
            excluded=frozenset(request.query_params.getlist("exclude")),
            verbose="verbose" in request.query_params,
        )
        return PlainTextResponse(text, status)

    async def single(request: Request) -> Response:
        name = request.path_params["check"]
        found = [condition for condition in conditions() if condition.name == name]
        if not found:
            names = ", ".join(condition.name for condition in conditions())
            return PlainTextResponse(f"{probe} has no such check; there are: {names}\n", 404)
        verbose = "verbose" in request.query_params
        status, text = examine(f"{probe}/{name}", found, verbose=verbose)
        return PlainTextResponse(text, status)

    return [Route(f"/{probe}", whole), Route(f"/{probe}/{{check}}", single)]
