"""The table "what an answer means", row by row, against real sockets: a license service, or what
stands in its place, a ticket service beside it, and the verifier as the agent runs it."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from fixtures.cleo import LicenseService, TicketService
from fixtures.connections import Handler
from fixtures.serve import free_port, serving
from fixtures.tls import Certificate
from harmony_agent.license.classify import Fault, Meaning, Refusal, Unreached, Verified
from harmony_agent.license.client import Exchange, TicketClient, VerificationClient
from harmony_agent.license.identity import identify
from harmony_agent.license.verifier import Services, Verifier
from harmony_agent.settings.model import LicenseSettings
from harmony_agent.settings.secret import SecretBytes, SecretStr
from tests.integration.license.conftest import Certificates
from tests.integration.license.sockets import black_hole, proxy, raw_server, reset

NOW, TOMORROW = 0.0, 86400.0  # how far our clock is ahead

CLEO, CUSTOMER = Fault.CLEO, Fault.CUSTOMER


async def head_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer that breaks off behind its head."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One byte now and then, and never a whole head."""
    await reader.read(1)
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.1)


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes that are no HTTP, over TLS that is."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"220 mail.example.com ESMTP\r\n")
    await writer.drain()


@asynccontextmanager
async def place(kind: str, certificates: Certificates) -> AsyncIterator[str]:
    """The URL of a license service of this kind: what it answers, its certificate, or its way to
    fail."""
    handlers: dict[str, tuple[Handler, Certificate | None]] = {
        "black hole": (black_hole, None),
        "black hole behind TLS": (black_hole, certificates.good),
        "reset": (reset, None),
        "reset behind TLS": (reset, certificates.good),
        "drips": (drip, certificates.good),
        "breaks off": (head_only, certificates.good),
        "nonsense": (nonsense, certificates.good),
    }
    async with AsyncExitStack() as stack:
        if kind == "closed":
            yield f"https://localhost:{free_port()}"
        elif kind == "no such name":
            yield "https://license.invalid"
        elif kind in handlers:
            port = await stack.enter_async_context(raw_server(*handlers[kind]))
            yield f"https://localhost:{port}"
        elif kind.endswith(" certificate"):
            certificate = getattr(certificates, kind.removesuffix(" certificate"))
            yield stack.enter_context(serving(LicenseService().app, certificate))
        else:
            yield stack.enter_context(serving(LicenseService(answer=kind).app, certificates.good))


def exchange(url: str, bundle: Path) -> Exchange:
    """With short limits."""
    return Exchange(url, bundle, step_limit=1.5, overall_limit=2.5)


async def judge(license_url: str, ticket_url: str, bundle: Path, *, ahead: float = NOW) -> Meaning:
    """One attempt by the agent's own verifier, with short limits."""
    settings = LicenseSettings(
        key=SecretBytes(b"license.owner=ACME"),
        verification_code=SecretStr("4711-code"),
        serial="HC1234-ZZ5678",
        url=license_url,
        ticket_url=ticket_url,
    )
    verifier = Verifier(
        settings,
        identify(settings),
        Services(
            VerificationClient(exchange(license_url, bundle)),
            TicketClient(exchange(ticket_url, bundle)),
        ),
        system="sys",
        host="node-0",
        wall=lambda: time.time() + ahead,
    )
    return (await verifier.attempt()).meaning


# kind of license service, with the ticket service there, and without
ROWS: list[tuple[str, object, object]] = [
    ("valid", Verified, Verified),
    ("invalid", Refusal, Refusal),
    ("expired", Refusal, Refusal),
    ("revoked", Refusal, Refusal),
    ("suspended", Refusal, Refusal),
    ("unknown-word", CLEO, CLEO),
    ("malformed", CLEO, CLEO),
    ("incomplete", CLEO, CLEO),
    ("other-request", CLEO, CLEO),
    ("other-serial", CLEO, CLEO),
    ("oversized", CLEO, CLEO),
    ("redirect", CLEO, CLEO),
    ("not-found", CLEO, CLEO),
    ("error", CLEO, CLEO),
    ("busy", CLEO, CLEO),
    ("breaks off", CLEO, CLEO),
    ("expired certificate", CLEO, CUSTOMER),
    ("not_yet_valid certificate", CLEO, CUSTOMER),
    ("wrong_name certificate", CLEO, CUSTOMER),
    ("unknown certificate", CUSTOMER, CUSTOMER),
    ("closed", CLEO, CUSTOMER),
    ("no such name", CLEO, CUSTOMER),
    ("black hole", CLEO, CUSTOMER),
    ("black hole behind TLS", CLEO, CUSTOMER),
    ("reset", CLEO, CUSTOMER),
    ("reset behind TLS", CLEO, CUSTOMER),
    ("drips", CLEO, CUSTOMER),
    ("nonsense", CLEO, CUSTOMER),
]


@pytest.mark.parametrize(("kind", "beside", "alone"), ROWS, ids=[row[0] for row in ROWS])
async def test_what_comes_back_has_its_meaning(
    certificates: Certificates, kind: str, beside: object, alone: object
) -> None:
    """Each row with a ticket service that answers, and with one that is away as well."""
    with serving(TicketService(fail=500).app, certificates.good) as tickets:
        async with place(kind, certificates) as url:
            gone = f"https://localhost:{free_port()}"
            witnessed, unwitnessed = await asyncio.gather(
                judge(url, tickets, certificates.bundle), judge(url, gone, certificates.bundle)
            )
    assert fault_or_kind(witnessed) is beside
    assert fault_or_kind(unwitnessed) is alone


def fault_or_kind(meaning: Meaning) -> object:
    """Whose fault it is; the class of a verdict."""
    return meaning.fault if isinstance(meaning, Unreached) else type(meaning)


@pytest.mark.parametrize("kind", ["expired certificate", "wrong_name certificate"])
async def test_a_bad_certificate_is_not_cleos_by_a_clock_that_is_wrong(
    certificates: Certificates, kind: str
) -> None:
    """The ticket service's Date is more than an hour from ours: our clock may be to blame."""
    with serving(TicketService().app, certificates.good) as tickets:
        async with place(kind, certificates) as url:
            meaning = await judge(url, tickets, certificates.bundle, ahead=TOMORROW)
    assert fault_or_kind(meaning) is CUSTOMER
    assert isinstance(meaning, Unreached)
    assert "clock" in meaning.cause


async def test_a_ticket_service_that_does_not_verify_is_no_witness(
    certificates: Certificates,
) -> None:
    """Somebody who intercepts TLS can't make it Cleo's fault."""
    with serving(TicketService().app, certificates.unknown) as tickets:
        meaning = await judge(f"https://localhost:{free_port()}", tickets, certificates.bundle)
    assert fault_or_kind(meaning) is CUSTOMER


CREDENTIALS = "agent:pr0xy-Passw0rd%21"


@pytest.mark.parametrize(
    ("account", "status", "meant"),
    [
        (f"{CREDENTIALS}@", "200 OK", Verified),
        ("", "407 Proxy Authentication Required", CUSTOMER),
        (f"{CREDENTIALS}@", "407 Proxy Authentication Required", CUSTOMER),
        (f"{CREDENTIALS}@", "403 Forbidden", CUSTOMER),
        (f"{CREDENTIALS}@", "502 Bad Gateway", CUSTOMER),
    ],
)
async def test_a_forward_proxy_passes_on_or_is_the_customers_network(
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    account: str,
    status: str,
    meant: object,
) -> None:
    """CONNECT with the credentials of HTTPS_PROXY, for the license service and for the ticket
    service alike; the verification code never shows to a proxy."""
    seen: list[str] = []
    # The proxy ends first: a server that ends before its last connection leaves that one behind.
    with (
        serving(LicenseService().app, certificates.good) as url,
        serving(TicketService().app, certificates.good) as tickets,
    ):
        async with raw_server(proxy(status, seen, whole=True)) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://{account}127.0.0.1:{port}")
            meaning = await judge(url, tickets, certificates.bundle)
    assert fault_or_kind(meaning) is meant
    expected = base64.b64encode(b"agent:pr0xy-Passw0rd!").decode()
    for request in seen:
        assert request.startswith("CONNECT localhost:")
        assert (f"Basic {expected}" in request) is bool(account)
        assert "4711-code" not in request
    assert seen


@pytest.mark.parametrize("handler", [black_hole, reset], ids=["black hole", "reset"])
async def test_a_proxy_that_says_nothing_is_never_cleos_fault(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, handler: Handler
) -> None:
    """Neither service is reached through it."""
    async with raw_server(handler) as port:
        monkeypatch.setenv("ALL_PROXY", f"127.0.0.1:{port}")
        with (
            serving(LicenseService().app, certificates.good) as url,
            serving(TicketService().app, certificates.good) as tickets,
        ):
            meaning = await judge(url, tickets, certificates.bundle)
    assert fault_or_kind(meaning) is CUSTOMER


@pytest.mark.parametrize(
    ("no_proxy", "through"),
    [
        ("localhost", False),
        ("LOCALHOST", False),
        ("example.com, localhost", False),
        ("*", False),
        ("host", True),
        ("example.com", True),
        ("", True),
    ],
)
async def test_no_proxy_names_hosts_that_are_reached_directly(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, no_proxy: str, through: bool
) -> None:
    """By name, without regard to case, or all; a part of a name is not the name."""
    seen: list[str] = []
    with serving(LicenseService().app, certificates.good) as url:
        async with raw_server(proxy("200 OK", seen)) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("NO_PROXY", no_proxy)
            meaning = await judge(url, url, certificates.bundle)
    assert isinstance(meaning, Verified)
    assert bool(seen) is through
