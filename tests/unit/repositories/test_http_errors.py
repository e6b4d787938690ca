"""What a failed exchange means, and how long a busy server wants to be left alone."""

import ssl

import pytest

from harmony_agent.core.errors import OutcomeUnknown, Refused, Unavailable
from harmony_agent.repositories.http.answer import Head, NotHttp
from harmony_agent.repositories.http.client import Unreached
from harmony_agent.repositories.http.errors import (
    Denied,
    exchange_error,
    redirect_error,
    retry_after,
)
from harmony_agent.repositories.http.proxy import ProxyError


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (Unreached("no connection within 5 s"), Unavailable, "can't be reached in time"),
        (ProxyError("the proxy p:1 answered 407"), Unavailable, "the proxy p:1 answered 407"),
        (ssl.SSLCertVerificationError("bad"), Refused, "is not trusted"),
        (ConnectionResetError("cut"), OutcomeUnknown, "closed the connection"),
        (NotHttp("SSH-2.0"), OutcomeUnknown, "does not speak HTTP"),
        (OSError(101, "Network is unreachable"), Unavailable, "Network is unreachable"),
        (KeyError("etag"), OutcomeUnknown, "it lacks 'etag'"),
        (ValueError("no XML"), OutcomeUnknown, "does not answer as an object store does"),
        (AttributeError("x"), OutcomeUnknown, "AttributeError"),
    ],
)
def test_each_failure_says_what_to_do(error: Exception, kind: type[Exception], words: str) -> None:
    """Unavailable where nothing was sent, OutcomeUnknown where something may have happened."""
    found = exchange_error(error, "can't write 'a'", "store:1")
    assert type(found) is kind
    assert str(found).startswith("can't write 'a': ")
    assert words in str(found)


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("", None), ("Sat, 21 Nov 2026 08:00:00 GMT", None)]
)
def test_a_busy_server_may_say_for_how_long(value: str, seconds: float | None) -> None:
    """Seconds are believed; a date is left to the caller's own pause."""
    assert retry_after(Denied(Head(503, {"retry-after": value}), "SlowDown")) == seconds
    assert retry_after(Denied(Head(503, {}), "SlowDown")) is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_where_a_redirect_leads_is_told_without_its_secrets(status: int) -> None:
    """The endpoint that would be right is named; a path or query may hold a token."""
    denied = Denied(Head(status, {"location": "https://other.example/a?token=secret"}), "")
    found = redirect_error(denied, "can't open b", "http://store:1")
    assert isinstance(found, Refused)
    assert "redirects to https://other.example; correct the endpoint" in str(found)
    assert "secret" not in str(found)


@pytest.mark.parametrize(("status", "location"), [(301, ""), (307, "/elsewhere"), (403, "x://y")])
def test_not_every_answer_is_a_redirect_to_another_server(status: int, location: str) -> None:
    """Then the connector says what it is."""
    assert redirect_error(Denied(Head(status, {"location": location}), ""), "a", "b") is None
