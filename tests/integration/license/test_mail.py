"""Mails through a real SMTP server, and how its refusals are told."""

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import quote

import pytest

from fixtures.serve import free_port
from fixtures.servers.smtp import Security, mail_server
from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.license.smtp import PostOffice
from harmony_agent.settings.smtp_url import parse_smtp_url
from tests.integration.license.conftest import Certificates
from tests.integration.license.sockets import black_hole, raw_server

ACCOUNT = ("harmony@example.com", "p@ss/w:rd#1")


@pytest.fixture
def workers() -> Iterator[Workers]:
    """One thread for mail."""
    pool = Workers("mail-test", 1)
    yield pool
    pool.close()


def mail() -> EmailMessage:
    """Any mail."""
    message = EmailMessage()
    message["From"], message["To"] = "harmony@example.com", "ops@example.com"
    message["Subject"] = "Grüße"
    message.set_content("Grüße\n")
    return message


def office(url: str, bundle: Path | None, workers: Workers) -> PostOffice:
    """A post office for an SMTP URL."""
    return PostOffice(parse_smtp_url(url), bundle, workers)


@pytest.mark.parametrize(
    ("security", "scheme"), [("plain", "smtp"), ("starttls", "smtp+starttls"), ("tls", "smtps")]
)
@pytest.mark.parametrize("account", [None, ACCOUNT], ids=["open", "account"])
async def test_a_mail_arrives_with_every_kind_of_server(
    certificates: Certificates,
    workers: Workers,
    security: Security,
    scheme: str,
    account: tuple[str, str] | None,
) -> None:
    """Plain, STARTTLS and TLS, with and without an account whose password needs escaping; a
    greeting proves as much without a mail."""
    certificate = None if security == "plain" else certificates.good
    login = ":".join(quote(part, safe="") for part in account) + "@" if account else ""
    with mail_server(security, certificate, account=account) as server:
        post = office(f"{scheme}://{login}localhost:{server.port}", certificates.bundle, workers)
        await post.greet()
        assert server.attempts == 0
        await post.send(mail())
    assert [str(m["Subject"]) for m in server.mails] == ["Grüße"]


async def test_a_wrong_password_is_told_without_the_password(
    certificates: Certificates, workers: Workers
) -> None:
    """A person has to act; the message shows no secret."""
    with mail_server("starttls", certificates.good, account=ACCOUNT) as server:
        url = f"smtp+starttls://someone:wrong-password@localhost:{server.port}"
        with pytest.raises(Refused, match="user and password") as raised:
            await office(url, certificates.bundle, workers).greet()
    assert "wrong-password" not in str(raised.value)
    assert server.mails == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_that_does_not_verify_stops_the_mail_and_the_password(
    certificates: Certificates, workers: Workers, security: Security
) -> None:
    """STARTTLS is verified as well: nobody in between gets the account."""
    scheme = {"starttls": "smtp+starttls", "tls": "smtps"}[security]
    with mail_server(security, certificates.unknown, account=ACCOUNT) as server:
        url = f"{scheme}://someone:secret@localhost:{server.port}"
        with pytest.raises(Refused, match="HARMONY_AGENT_CA_BUNDLE"):
            await office(url, certificates.bundle, workers).send(mail())
    assert server.attempts == 0


async def test_starttls_is_never_left_out(workers: Workers) -> None:
    """A server that does not offer STARTTLS gets neither password nor mail."""
    with mail_server("plain") as server:
        post = office(f"smtp+starttls://localhost:{server.port}", None, workers)
        with pytest.raises(Refused, match="STARTTLS"):
            await post.send(mail())
    assert server.attempts == 0


@pytest.mark.parametrize(
    ("reply", "error"),
    [("451 4.3.0 try again later", Unavailable), ("554 5.7.1 no such thing here", Refused)],
)
async def test_4xx_is_tried_again_and_5xx_needs_a_person(
    workers: Workers, reply: str, error: type[Exception]
) -> None:
    """The server's own words are told."""
    with mail_server() as server:
        server.replies.append(reply)
        post = office(f"smtp://localhost:{server.port}", None, workers)
        with pytest.raises(error, match=reply[:3]):
            await post.send(mail())
        await post.send(mail())
    assert len(server.mails) == 1


async def test_a_mail_server_that_is_away_is_tried_again(workers: Workers) -> None:
    """Nobody listens."""
    with pytest.raises(Unavailable, match="can't be reached"):
        await office(f"smtp://localhost:{free_port()}", None, workers).send(mail())


async def test_a_mail_server_that_hangs_up_is_tried_again(workers: Workers) -> None:
    """A connection that ends before the greeting is no reason to give up."""
    async with raw_server(lambda _, writer: writer.drain()) as port:
        with pytest.raises(Unavailable):
            await office(f"smtp://127.0.0.1:{port}", None, workers).send(mail())


async def test_a_mail_server_that_never_greets_holds_a_thread_only_for_its_limit(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A black hole ends with the step limit."""
    monkeypatch.setattr("harmony_agent.license.smtp._STEP_LIMIT", 0.3)
    async with raw_server(black_hole) as port:
        with pytest.raises(Unavailable):
            await office(f"smtp://127.0.0.1:{port}", None, workers).send(mail())
