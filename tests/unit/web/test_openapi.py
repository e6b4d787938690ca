"""The OpenAPI document is what is served."""

from typing import Any

import pytest
from starlette.routing import Route

from harmony_agent.lifecycle.health import Health
from harmony_agent.logs.event import SEVERITIES, Event
from harmony_agent.logs.params import DEFAULT_COUNT, MOST_COUNT, MOST_START_INDEX, PARAMETERS
from harmony_agent.web.app import build_apps
from harmony_agent.web.openapi import DOCUMENT
from harmony_agent.web.parts import Parts
from tests.unit.web.conftest import Client, nothing_found

PAGE = {"/", "/static/{name}"}


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(_references, value.values()))
    if isinstance(value, list):
        return set().union(*map(_references, value))
    return set()


def test_every_route_but_the_pages_is_described_and_no_other() -> None:
    """A route added or taken away has to be told here."""
    tcp, _ = build_apps(Parts(Health(), nothing_found, lambda: None))
    routes = {route.path for route in tcp.routes if isinstance(route, Route)}
    assert set(DOCUMENT["paths"]) == routes - PAGE


def test_the_parameters_of_the_log_are_those_that_are_understood() -> None:
    """Names in the design's order, with the limits that hold."""
    parameters = {p["name"]: p for p in DOCUMENT["paths"]["/api/logs"]["get"]["parameters"]}
    assert tuple(parameters) == PARAMETERS
    assert parameters["count"]["schema"]["maximum"] == MOST_COUNT
    assert parameters["count"]["schema"]["default"] == DEFAULT_COUNT
    assert parameters["startIndex"]["schema"]["maximum"] == MOST_START_INDEX


def test_the_event_is_described_as_it_is() -> None:
    """Fields and severities are the event's own."""
    described = DOCUMENT["components"]["schemas"]["LogEvent"]["properties"]
    assert set(described) == set(Event.__slots__)
    assert tuple(described["severity"]["enum"]) == SEVERITIES


def test_every_reference_leads_somewhere() -> None:
    """No dangling $ref, no schema that nobody uses."""
    schemas = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert _references(DOCUMENT) == schemas


@pytest.mark.parametrize("path", ["/api/status", "/api/logs"])
async def test_answers_hold_what_their_schema_requires(client: Client, path: str) -> None:
    """The members named as required are there."""
    content = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    async with client() as agent:
        answer = (await agent.get(path)).json()
    assert set(DOCUMENT["components"]["schemas"][name]["required"]) <= set(answer)


async def test_the_document_is_served(client: Client) -> None:
    """Byte for byte the same object."""
    async with client() as agent:
        assert (await agent.get("/api/openapi.json")).json() == DOCUMENT
