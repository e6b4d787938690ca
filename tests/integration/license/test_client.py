"""What really happens on sockets, and what the client makes of it."""

import asyncio
import time
from pathlib import Path

import pytest

from fixtures.cleo import ANSWERS, LicenseService, TicketService
from fixtures.connections import Handler
from fixtures.serve import free_port, serving
from fixtures.tls import Certificate
from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.license.classify import (
    Answer,
    Fault,
    Happening,
    Meaning,
    NoAnswer,
    Question,
    Refusal,
    Trouble,
    Unreached,
    Verified,
    Witness,
    classify,
)
from harmony_agent.license.client import (
    Exchange,
    TicketClient,
    TicketRequest,
    VerificationClient,
    VerificationRequest,
)
from tests.integration.license.conftest import Certificates
from tests.integration.license.sockets import black_hole, proxy, raw_server, reset

REQUEST = VerificationRequest(
    serial="HC1234-ZZ5678",
    instance="HC1234-ZZ5678-node-0",
    verificationCode="4711-code",
    licenseSha256="ab" * 32,
    system="sys",
    host="node-0",
    agentVersion="1",
    requestId="request-1",
)
QUESTION = Question("HC1234-ZZ5678", "request-1")
TICKET = TicketRequest(
    serial=None,
    system="sys",
    host="node-0",
    outage="outage-1",
    outageStarted="2030-01-01T00:00:00Z",
    kind="timed-out",
    evidence=["no answer"],
)


async def ask(url: str, bundle: Path | None, *, limit: float = 5.0) -> Happening:
    """One verification with short limits."""
    exchange = Exchange(url, bundle, step_limit=limit, overall_limit=2 * limit)
    return await VerificationClient(exchange).verify(REQUEST)


def meaning_of(happening: Happening) -> Meaning:
    """With a ticket service that answers."""
    return classify(QUESTION, happening, Witness(answers=True, date=time.time()), time.time())


@pytest.mark.parametrize("answer", ANSWERS)
async def test_every_documented_answer_has_its_meaning(
    certificates: Certificates, answer: str
) -> None:
    """Through real TLS: valid is verified, four words are refusals, the rest is Cleo's side."""
    service = LicenseService(answer=answer)
    with serving(service.app, certificates.good) as url:
        meaning = meaning_of(await ask(url, certificates.bundle))
    if answer == "valid":
        assert isinstance(meaning, Verified)
        assert meaning.serial == "HC1234-ZZ5678"
    elif answer in ("invalid", "expired", "revoked", "suspended"):
        assert meaning == Refusal(answer)
    else:
        assert isinstance(meaning, Unreached)
        assert meaning.fault is Fault.CLEO
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("expired", Trouble.CERTIFICATE_DATE),
        ("wrong_name", Trouble.CERTIFICATE_NAME),
        ("unknown", Trouble.CERTIFICATE_UNKNOWN),
    ],
)
async def test_a_bad_certificate_is_told_apart_and_nothing_is_sent(
    certificates: Certificates, name: str, trouble: Trouble
) -> None:
    """Expired, another name, unknown authority; the verification code never leaves the node."""
    service = LicenseService()
    certificate: Certificate = getattr(certificates, name)
    with serving(service.app, certificate) as url:
        happening = await ask(url, certificates.bundle)
    assert isinstance(happening, NoAnswer)
    assert happening.trouble is trouble
    assert service.requests == []


async def test_a_closed_port_counts_as_refused(certificates: Certificates) -> None:
    """Nobody listens."""
    happening = await ask(f"https://localhost:{free_port()}", certificates.bundle)
    assert isinstance(happening, NoAnswer)
    assert happening.trouble is Trouble.REFUSED


async def test_a_name_that_does_not_exist_counts_as_unresolvable(
    certificates: Certificates,
) -> None:
    """RFC 6761: .invalid never resolves."""
    happening = await ask("https://license.invalid", certificates.bundle)
    assert isinstance(happening, NoAnswer)
    assert happening.trouble is Trouble.UNRESOLVABLE


@pytest.mark.parametrize(
    ("handler", "trouble"),
    [(black_hole, Trouble.TIMED_OUT), (reset, Trouble.RESET)],
    ids=["black hole", "reset"],
)
@pytest.mark.parametrize("encrypted", [False, True], ids=["before TLS", "after TLS"])
async def test_silence_and_resets_are_told_apart(
    certificates: Certificates, handler: Handler, trouble: Trouble, encrypted: bool
) -> None:
    """A black hole is a time-out, a broken connection is a reset, on either side of TLS."""
    async with raw_server(handler, certificates.good if encrypted else None) as port:
        happening = await ask(f"https://localhost:{port}", certificates.bundle, limit=0.5)
    assert isinstance(happening, NoAnswer)
    assert happening.trouble is trouble


async def test_a_server_that_speaks_no_tls_counts_as_broken_off(
    certificates: Certificates,
) -> None:
    """Plain HTTP on the port says nothing about a certificate."""

    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(1)

    async with raw_server(plain) as port:
        happening = await ask(f"https://localhost:{port}", certificates.bundle)
    assert isinstance(happening, NoAnswer)
    assert happening.trouble is Trouble.RESET


async def test_a_dripping_answer_ends_at_the_overall_limit_and_is_cleos(
    certificates: Certificates,
) -> None:
    """One byte now and then keeps no one waiting; the head was there, so it is their answer."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw_server(drip, certificates.good) as port:
        began = time.monotonic()
        happening = await ask(f"https://localhost:{port}", certificates.bundle, limit=0.5)
        assert time.monotonic() - began < 3
    assert happening == Answer(200, None, None)
    assert isinstance(meaning_of(happening), Unreached)


async def test_an_endless_answer_is_cut_off_at_its_limit(certificates: Certificates) -> None:
    """64 KiB are read, no more."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            sent += 10_000
            await writer.drain()

    async with raw_server(flood, certificates.good) as port:
        happening = await ask(f"https://localhost:{port}", certificates.bundle)
    assert happening == Answer(200, None, None)
    assert sent < 50_000_000


async def test_a_proxy_that_refuses_is_the_customers_network(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """407 to CONNECT is a proxy error."""
    seen: list[str] = []
    async with raw_server(proxy("407 Proxy Authentication Required", seen)) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        happening = await ask("https://license.invalid", certificates.bundle)
    assert isinstance(happening, NoAnswer)
    assert happening.trouble is Trouble.PROXY
    assert seen == ["CONNECT license.invalid:443 HTTP/1.1"]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nobody.invalid:3128", "ftp://127.0.0.1:1"])
async def test_a_proxy_that_cannot_be_used_is_the_customers_network(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """A dead proxy is not taken for a dead license service."""
    monkeypatch.setenv("HTTPS_PROXY", address)
    happening = await ask("https://license.invalid", certificates.bundle)
    assert isinstance(happening, NoAnswer)
    assert happening.trouble is Trouble.PROXY


async def test_a_proxy_is_used_unless_no_proxy_names_the_host(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY and NO_PROXY are honored, and TLS is verified through the tunnel."""
    seen: list[str] = []
    async with raw_server(proxy("200 OK", seen)) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with serving(LicenseService().app, certificates.good) as url:
            assert isinstance(meaning_of(await ask(url, certificates.bundle)), Verified)
            assert len(seen) == 1
            monkeypatch.setenv("NO_PROXY", "example.com,localhost")
            assert isinstance(meaning_of(await ask(url, certificates.bundle)), Verified)
            assert len(seen) == 1
        monkeypatch.delenv("NO_PROXY")
        with serving(LicenseService().app, certificates.unknown) as url:
            happening = await ask(url, certificates.bundle)
            assert isinstance(happening, NoAnswer)
            assert happening.trouble is Trouble.CERTIFICATE_UNKNOWN


async def test_a_ca_bundle_that_cannot_be_read_is_an_answer_not_a_crash(tmp_path: Path) -> None:
    """The file may vanish while the agent runs."""
    happening = await ask("https://localhost:1", tmp_path / "gone.pem")
    assert isinstance(happening, NoAnswer)
    assert happening.trouble is Trouble.CERTIFICATE_UNKNOWN
    assert "gone.pem" in happening.detail


async def test_the_witness_needs_verified_tls_and_brings_its_date(
    certificates: Certificates,
) -> None:
    """Whatever the ticket service answers counts, but only over TLS that verifies."""
    with serving(TicketService(fail=503).app, certificates.good) as url:
        witness = await TicketClient(Exchange(url, certificates.bundle)).witness()
    assert witness.answers
    assert witness.date is not None
    assert abs(witness.date - time.time()) < 60
    with serving(TicketService().app, certificates.expired) as url:
        assert not (await TicketClient(Exchange(url, certificates.bundle)).witness()).answers


async def test_a_ticket_is_opened_once_per_outage(certificates: Certificates) -> None:
    """The Idempotency-Key is the outage's id: asked twice, one ticket."""
    service = TicketService()
    with serving(service.app, certificates.good) as url:
        client = TicketClient(Exchange(url, certificates.bundle))
        assert await client.open(TICKET) == "IT-1000"
        assert await client.open(TICKET) == "IT-1000"
    assert service.tickets == {"outage-1": "IT-1000"}


@pytest.mark.parametrize(
    ("status", "error"), [(503, Unavailable), (429, Unavailable), (403, Refused)]
)
async def test_a_ticket_that_is_not_taken_tells_whether_to_try_again(
    certificates: Certificates, status: int, error: type[Exception]
) -> None:
    """5xx and 429 are worth another attempt, other 4xx are not."""
    with (
        serving(TicketService(fail=status).app, certificates.good) as url,
        pytest.raises(error),
    ):
        await TicketClient(Exchange(url, certificates.bundle)).open(TICKET)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("99999999999999999999", 999999999.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ("soon", None),
        ("-5", None),
        (None, None),
    ],
)
async def test_a_busy_ticket_service_says_when_to_come_back(
    certificates: Certificates, header: str | None, seconds: float | None
) -> None:
    """Retry-After in seconds; what is none, or bygone, asks for nothing."""
    service = TicketService(fail=503, retry_after=header)
    with serving(service.app, certificates.good) as url, pytest.raises(Unavailable) as busy:
        await TicketClient(Exchange(url, certificates.bundle)).open(TICKET)
    assert busy.value.retry_after == seconds


async def test_a_date_to_come_back_counts_from_the_answers_own_date(
    certificates: Certificates,
) -> None:
    """Our clock may be wrong."""

    async def busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 429 Too Many Requests\r\nDate: Fri, 31 Dec 1999 23:00:00 GMT\r\n"
            b"Retry-After: Fri, 31 Dec 1999 23:30:00 GMT\r\nContent-Length: 0\r\n\r\n"
        )
        await writer.drain()

    async with raw_server(busy, certificates.good) as port:
        with pytest.raises(Unavailable) as told:
            await TicketClient(Exchange(f"https://localhost:{port}", certificates.bundle)).open(
                TICKET
            )
    assert told.value.retry_after == 1800.0
