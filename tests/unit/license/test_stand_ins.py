"""The stand-ins, the clients and docs/license-openapi.yaml say the same."""

import asyncio
import dataclasses
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from fixtures.cleo import ANSWERS, LicenseService, TicketService
from harmony_agent.license.client import TicketRequest, VerificationRequest
from harmony_agent.settings.model import MailSettings
from tests.unit.license.loop_system import System
from tests.unit.license.support import Cleo, license_settings

DOCUMENT: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[3] / "docs" / "license-openapi.yaml").read_text()
)
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]

REQUEST = {
    "serial": None,
    "instance": None,
    "verificationCode": "4711",
    "licenseSha256": "ab" * 32,
    "system": "sys",
    "host": "node-0",
    "agentVersion": "1",
    "requestId": "request-1",
}
TICKET: dict[str, Any] = {
    "serial": None,
    "system": "sys",
    "host": "node-0",
    "outage": "outage-1",
    "outageStarted": "2030-01-01T00:00:00Z",
    "kind": "timed-out",
    "evidence": [],
}


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Validates by `schema`, whose references lead into the document; formats count."""
    whole = {**schema, "components": DOCUMENT["components"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def client(app: Any) -> httpx.AsyncClient:
    """Speaks to an application without sockets."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="https://cleo")


@pytest.mark.parametrize(
    ("request_class", "schema"),
    [(VerificationRequest, "VerificationRequest"), (TicketRequest, "TicketRequest")],
)
def test_the_clients_send_exactly_the_documented_fields(request_class: Any, schema: str) -> None:
    """No field more, none less."""
    sent = {f.name for f in dataclasses.fields(request_class)}
    assert sent == set(SCHEMAS[schema]["required"]) == set(SCHEMAS[schema]["properties"])


@pytest.mark.parametrize("field", sorted(SCHEMAS["VerificationRequest"]["required"]))
async def test_the_license_service_insists_on_every_required_field(field: str) -> None:
    """400 names what is missing."""
    service = LicenseService()
    async with client(service.app) as http:
        body = {k: v for k, v in REQUEST.items() if k != field}
        answer = await http.post("/v1/verifications", json=body)
    assert answer.status_code == 400
    assert field in answer.json()["message"]
    assert service.requests == []


@pytest.mark.parametrize("field", sorted(SCHEMAS["TicketRequest"]["required"]))
async def test_the_ticket_service_insists_on_every_required_field(field: str) -> None:
    """And on the Idempotency-Key."""
    async with client(TicketService().app) as http:
        body = {k: v for k, v in TICKET.items() if k != field}
        headers = {"Idempotency-Key": "outage-1"}
        assert (await http.post("/v1/tickets", json=body, headers=headers)).status_code == 400
        assert (await http.post("/v1/tickets", json=TICKET)).status_code == 400
        done = await http.post("/v1/tickets", json=TICKET, headers=headers)
    assert done.status_code == 201
    assert set(done.json()) >= set(SCHEMAS["Ticket"]["required"])


@pytest.mark.parametrize("word", SCHEMAS["Verification"]["properties"]["status"]["enum"])
async def test_every_documented_verdict_can_be_had_in_full(word: str) -> None:
    """With all documented fields, the request's id echoed."""
    assert word in ANSWERS
    async with client(LicenseService(answer=word).app) as http:
        body = (await http.post("/v1/verifications", json=REQUEST)).json()
    assert body["status"] == word
    assert body["requestId"] == "request-1"
    assert set(body) == set(SCHEMAS["Verification"]["properties"])


OFF_THE_RECORD = ("unknown-word", "malformed", "incomplete", "redirect")
"""Answers of the stand-in by which it breaks the protocol on purpose, in the schema's sight."""


def conforms(path: str, answer: httpx.Response) -> bool:
    """Whether an answer is one that the document describes for `POST path`."""
    responses = DOCUMENT["paths"][path]["post"]["responses"]
    described = responses.get(str(answer.status_code), responses["default"])
    if "$ref" in described:
        described = DOCUMENT["components"]["responses"][described["$ref"].rpartition("/")[2]]
    if answer.headers.get("Content-Type") != "application/json":
        return False
    if not set(described.get("headers", ())) <= {name.title() for name in answer.headers}:
        return False
    return validator(described["content"]["application/json"]["schema"]).is_valid(answer.json())


@pytest.mark.parametrize("answer", ANSWERS)
async def test_the_license_service_answers_as_documented_unless_told_to_break_it(
    answer: str,
) -> None:
    """Each verdict and each error by a schema validator; what is broken on purpose is broken."""
    async with client(LicenseService(answer=answer).app) as http:
        given = await http.post("/v1/verifications", json=REQUEST)
        assert conforms("/v1/verifications", given) is (answer not in OFF_THE_RECORD)
        assert conforms("/v1/verifications", await http.post("/v1/verifications", content=b"{"))


@pytest.mark.parametrize("status", [0, 400, 403, 408, 429, 500, 503])
async def test_the_ticket_service_answers_as_documented(status: int) -> None:
    """A ticket, or an error; with Retry-After where it is busy."""
    async with client(TicketService(fail=status, retry_after="60").app) as http:
        headers = {"Idempotency-Key": "outage-1"}
        given = await http.post("/v1/tickets", json=TICKET, headers=headers)
        assert given.status_code == (status or 201)
        assert conforms("/v1/tickets", given)
        assert (await http.head("/")).status_code == (status or 200)


@pytest.mark.looptime
async def test_what_an_agent_really_sends_is_as_documented(tmp_path: Path) -> None:
    """Requests of a whole outage, with and without a serial, the form of ids included."""
    cleo = Cleo()
    cleo.license.answer = "error"
    for serial in ("HC1234-ZZ5678", None):
        system = System(tmp_path / str(serial), cleo)
        system.folder.mkdir()
        async with system.node(settings=license_settings(serial=serial), mail=MailSettings()):
            await asyncio.sleep(7200)
    assert len(cleo.license.requests) > 10
    assert len(cleo.ticket.requests) == 2
    for name, requests in (
        ("VerificationRequest", cleo.license.requests),
        ("TicketRequest", cleo.ticket.requests),
    ):
        for request in requests:
            validator({"$ref": f"#/components/schemas/{name}"}).validate(request)


def test_the_schemas_are_schemas_and_every_reference_leads_somewhere() -> None:
    """OpenAPI 3.1 schemas are JSON Schema 2020-12."""
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
    text = (Path(__file__).parents[3] / "docs" / "license-openapi.yaml").read_text()
    for kind, name in re.findall(r"#/components/(\w+)/(\w+)", text):
        assert name in DOCUMENT["components"][kind]


async def test_another_process_can_script_the_answers() -> None:
    """POST /_control; a word that is none is told."""
    service = LicenseService()
    async with client(service.app) as http:
        assert (await http.post("/_control", json={"answer": "revoked"})).status_code == 200
        assert service.answer == "revoked"
        assert (await http.post("/_control", json={"answer": "nonsense"})).status_code == 400
    tickets = TicketService()
    async with client(tickets.app) as http:
        await http.post("/_control", json={"fail": 503})
        assert (await http.get("/")).status_code == 503
