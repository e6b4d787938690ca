"""Foreign failures in the agent's words, and how long to wait."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from harmony_agent.core.errors import AgentError, OutcomeUnknown, Refused, Unavailable
from harmony_agent.logs.systems.http import client_context, failure, retry_after

NOW = datetime(2026, 3, 10, 8, 0, 0, tzinfo=UTC)


def _transport_errors() -> list[type[httpx.TransportError]]:
    found, todo = [], [httpx.TransportError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", _transport_errors(), ids=lambda kind: kind.__name__)
def test_every_transport_error_has_a_meaning(kind: type[httpx.TransportError]) -> None:
    """None of the HTTP library's exceptions is forgotten; only failing to connect is certain to
    have sent nothing."""
    found = failure("X", kind("words"))
    expected: type[AgentError] = OutcomeUnknown
    if issubclass(kind, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)):
        expected = Unavailable
    if issubclass(kind, httpx.UnsupportedProtocol):
        expected = Refused
    assert type(found) is expected
    assert "words" in str(found)


def test_the_reason_is_found_however_deep() -> None:
    """A wrong certificate is a person's matter, also behind three other exceptions."""
    try:
        try:
            raise ssl.SSLCertVerificationError("self-signed certificate")
        except ssl.SSLError as error:
            raise OSError("outer") from error
    except OSError as error:
        wrapped = httpx.ConnectError("outermost")
        wrapped.__cause__ = error
    assert isinstance(failure("X", wrapped), Refused)


@pytest.mark.parametrize(
    "reason", ["TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE"]
)
def test_a_missing_client_certificate_is_recognized(reason: str) -> None:
    """The alerts of TLS 1.3 and 1.2 lead to the setting that helps."""
    alert = ssl.SSLError(1, f"[SSL: {reason}] words")
    alert.reason = reason
    wrapped = httpx.ReadError("")
    wrapped.__cause__ = alert
    found = failure("X", wrapped)
    assert isinstance(found, Refused)
    assert "clientCertificate" in str(found)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "86400"}, 900.0),
        ({"retry-after": "Tue, 10 Mar 2026 08:00:30 GMT"}, 30.0),
        ({"retry-after": "Tue, 10 Mar 2026 07:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"retry-after": "soon", "x-ratelimit-reset": "12"}, 12.0),
    ],
)
def test_the_wait_that_is_asked_for(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds or a date, at most a quarter of an hour, and nonsense is ignored."""
    assert retry_after(httpx.Headers(headers), NOW) == seconds


def test_a_bundle_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, empty or not a certificate: the message tells which file."""
    empty = tmp_path / "empty.pem"
    empty.touch()
    for path in (tmp_path / "missing.pem", empty):
        with pytest.raises(Refused, match=path.name):
            client_context(path)
        with pytest.raises(Refused, match=path.name):
            client_context(client_certificate=path)
