"""The cause of a failed connection is found wherever a library hides it."""

import socket
import ssl

import pytest

from harmony_agent.core.errors import OutcomeUnknown, Refused, Unavailable
from harmony_agent.repositories.causes import connection_error


def chained(outer: Exception, cause: BaseException) -> Exception:
    """`outer` raised from `cause`."""
    try:
        raise outer from cause
    except type(outer) as error:
        return error


CAUSES = [
    (socket.gaierror(-2, "unknown"), Unavailable, "can't be resolved"),
    (ConnectionRefusedError(111, "refused"), Unavailable, "refuses the connection"),
    (OSError("Multiple exceptions: [Errno 111] v4, [Errno 111] v6"), Unavailable, "refuses"),
    (ssl.SSLCertVerificationError("bad"), Refused, "not trusted"),
    (ssl.SSLCertVerificationError("x: certificate has expired (_ssl.c:1)"), Refused, "has expired"),
    (
        ssl.SSLCertVerificationError("x: certificate is not yet valid (_ssl.c:1)"),
        Refused,
        "not valid yet",
    ),
    (
        ssl.SSLCertVerificationError("Hostname mismatch, certificate is not valid for 'a'. (_s)"),
        Refused,
        "is for another name",
    ),
    (
        ssl.SSLCertVerificationError("IP address mismatch, certificate is not valid for '::1'."),
        Refused,
        "is for another name",
    ),
    (TimeoutError(), OutcomeUnknown, "in time"),
    (ConnectionResetError(104, "reset"), OutcomeUnknown, "closed the connection"),
]


@pytest.mark.parametrize(("cause", "kind", "words"), CAUSES)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda cause: chained(ValueError("Failed to connect"), cause),
        OSError,
        lambda cause: chained(OSError("all failed"), ExceptionGroup("attempts", [cause])),
    ],
    ids=["cause", "argument", "group"],
)
def test_each_cause_is_found_in_each_hiding_place(
    wrap: type[Exception], cause: Exception, kind: type[Exception], words: str
) -> None:
    """The type says what to do and the message names server and cause."""
    error = connection_error(wrap(cause), "can't open s3://b", "server:1")
    assert type(error) is kind
    assert "can't open s3://b: " in str(error)
    assert "server:1" in str(error)
    assert words in str(error)


def test_other_errors_are_left_to_the_connector() -> None:
    """No guess where nothing is known."""
    assert connection_error(KeyError("x"), "what", "server") is None
