"""The stand-ins, the clients and docs/license-openapi.yaml say the same."""

import dataclasses
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fixtures.cleo import ANSWERS, LicenseService, TicketService
from harmony_agent.license.client import TicketRequest, VerificationRequest

SCHEMAS: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[3] / "docs" / "license-openapi.yaml").read_text()
)["components"]["schemas"]

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
