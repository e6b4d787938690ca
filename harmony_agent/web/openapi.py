"""The OpenAPI document of what is served over TCP; a test compares it with the routes."""

from typing import Any, Final

from harmony_agent import __version__

__all__ = ["DOCUMENT"]

Json = dict[str, Any]


def _text(schema: Json | None = None) -> Json:
    return {"text/plain": {"schema": schema or {"type": "string"}}}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _error(description: str) -> Json:
    return {"description": description, "content": _json(_reference("Error"))}


def _parameter(name: str, description: str, **schema: Any) -> Json:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {"type": "string", **schema},
    }


_CLOSED = {
    "401": _error("A token is set and the request does not bear it."),
    "403": _error("No token is set and the request does not come from the agent's own machine."),
}
_VERBOSE = {
    "name": "verbose",
    "in": "query",
    "description": "Tell every check, also when all is well.",
    "allowEmptyValue": True,
    "schema": {"type": "string"},
}
_EXCLUDE = {
    "name": "exclude",
    "in": "query",
    "description": "A check that does not count; may be repeated.",
    "schema": {"type": "array", "items": {"type": "string"}},
}
_CHECK = {
    "name": "check",
    "in": "path",
    "required": True,
    "description": "The one check asked for.",
    "schema": {"type": "string"},
}
_PROBES = {
    "/livez": "Do the agent's own loops turn? Nothing else counts.",
    "/startupz": "Has startup finished: repositories, first pull, license?",
    "/readyz": (
        "503 while startup is unfinished, while draining, when fenced by another owner, and when "
        "the license is refused or its grace period over; other trouble is shown as [!]."
    ),
    "/harmony/livez": "503 once the license is refused or its grace period is over.",
}
_MOMENT = "RFC 3339, seconds since 1970, `now`, or a time ago such as `-15m`"

_LOG_PARAMETERS = [
    _parameter("from", f"First moment, inclusive: {_MOMENT}. None: everything kept."),
    _parameter("to", f"Last moment, exclusive: {_MOMENT}."),
    _parameter("node", "Only this node."),
    _parameter("severity", "Comma list of debug, info, warning, error, critical."),
    _parameter("element", "Only this element of Harmony's log, such as Result."),
    _parameter("thread", "Only this thread."),
    _parameter("host", "Only this Harmony host."),
    _parameter("mailbox", "Only this mailbox."),
    _parameter("text", "Words that all occur in the message, in any case."),
    _parameter("order", "Newest or oldest first.", enum=["desc", "asc"], default="desc"),
    _parameter(
        "startIndex",
        "Skip this many; excludes cursor.",
        type="integer",
        minimum=0,
        maximum=10_000,
        default=0,
    ),
    _parameter(
        "count", "Events of one page.", type="integer", minimum=1, maximum=5000, default=100
    ),
    _parameter(
        "cursor", "`next` of the page before, whose time range holds on; excludes startIndex."
    ),
]


def _probe_paths(path: str, summary: str) -> Json:
    answers = {
        "200": {"description": "Yes.", "content": _text()},
        "503": {"description": "No; the text tells which check failed.", "content": _text()},
    }
    single = {**answers, "404": {"description": "No such check.", "content": _text()}}
    return {
        path: {"get": _operation(summary, answers, [_VERBOSE, _EXCLUDE], closed=False)},
        f"{path}/{{check}}": {"get": _operation(summary, single, [_CHECK, _VERBOSE], closed=False)},
    }


def _operation(
    summary: str, answers: Json, parameters: list[Json] | None = None, *, closed: bool = True
) -> Json:
    operation: Json = {"summary": summary, "responses": {**answers, **(_CLOSED if closed else {})}}
    if parameters:
        operation["parameters"] = parameters
    # The empty alternative: without a token set, a loopback peer needs none.
    operation["security"] = [{"token": []}, {}] if closed else []
    return operation


def _good(description: str, content: Json) -> Json:
    return {"200": {"description": description, "content": content}}


_LOG_ANSWERS = {
    **_good("One page of events.", _json(_reference("LogPage"))),
    "400": _error("A parameter is wrong; the message tells which and what would be right."),
    "502": _error("The log system refuses; a person has to change something."),
    "503": {
        **_error("The log system can't be reached or is busy."),
        "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    },
    "504": _error("The log system did not answer in time."),
}

_SCHEMAS: Final[Json] = {
    "Error": {
        "type": "object",
        "required": ["message"],
        "properties": {"message": {"type": "string"}},
    },
    "LogPage": {
        "type": "object",
        "required": ["totalResults", "resources", "next"],
        "properties": {
            "totalResults": {
                "type": "integer",
                "description": "The log system's own count of all matches; may count repeats.",
            },
            "resources": {"type": "array", "items": _reference("LogEvent")},
            "next": {"type": ["string", "null"], "description": "Cursor of the next page."},
        },
    },
    "LogEvent": {
        "type": "object",
        "properties": {
            "time": {"type": "string", "format": "date-time"},
            "system": {"type": "string"},
            "node": {"type": "string"},
            "serial": {"type": ["string", "null"]},
            "run": {"type": "string", "description": "The Run's date as written."},
            "number": {"type": "integer", "description": "Harmony's event number (EN)."},
            "thread": {"type": ["string", "null"]},
            "command": {"type": ["string", "null"]},
            "element": {"type": "string"},
            "severity": {"enum": ["debug", "info", "warning", "error", "critical"]},
            "message": {"type": "string"},
            "attributes": {"type": "object", "additionalProperties": {"type": "string"}},
            "id": {"type": "string", "description": "The same however often the event is sent."},
        },
    },
    "Status": {
        "type": "object",
        "description": "Further members: one object per part, by its name.",
        "required": ["version", "uptimeSeconds", "live", "started", "ready", "harmonyMayRun"],
        "properties": {
            "version": {"type": "string"},
            "uptimeSeconds": {"type": "integer"},
            "live": {"type": "boolean"},
            "started": {"type": "boolean"},
            "ready": {"type": "boolean"},
            "harmonyMayRun": {"type": "boolean"},
            "conditions": {"type": "array", "items": _reference("Condition")},
        },
        "additionalProperties": True,
    },
    "Condition": {
        "type": "object",
        "required": ["name", "level", "message"],
        "properties": {
            "name": {"type": "string"},
            "level": {"enum": ["ok", "trouble", "failed"]},
            "message": {"type": "string"},
        },
    },
}

_PATHS: Final[Json] = {
    key: value
    for path, summary in _PROBES.items()
    for key, value in _probe_paths(path, summary).items()
}
_PATHS["/metrics"] = {
    "get": _operation("Metrics for Prometheus.", _good("Text format.", _text()), closed=False)
}
_PATHS["/api/status"] = {
    "get": _operation("How the agent fares.", _good("Status.", _json(_reference("Status"))))
}
_PATHS["/api/logs"] = {
    "get": _operation("Log events, one page.", _LOG_ANSWERS, _LOG_PARAMETERS),
}
_PATHS["/api/openapi.json"] = {
    "get": _operation("This document.", _good("OpenAPI 3.1.", _json({"type": "object"})))
}

DOCUMENT: Final[Json] = {
    "openapi": "3.1.0",
    "info": {
        "title": "harmony-agent",
        "version": __version__,
        "description": "Probes, metrics, status and log events of one harmony-agent.",
    },
    "paths": _PATHS,
    "components": {
        "schemas": _SCHEMAS,
        "securitySchemes": {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "HARMONY_AGENT_API_TOKEN, if it is set.",
            }
        },
    },
}
