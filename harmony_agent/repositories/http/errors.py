"""What a failed exchange with an object store means; the same for all three."""

import re
from typing import Final
from urllib.parse import urlsplit

from harmony_agent.core.errors import AgentError, OutcomeUnknown, Refused, Unavailable
from harmony_agent.repositories.causes import connection_error
from harmony_agent.repositories.http.answer import Head, NotHttp
from harmony_agent.repositories.http.client import Unreached
from harmony_agent.repositories.http.proxy import ProxyError

__all__ = ["Denied", "exchange_error", "redirect_error", "retry_after"]

_SECONDS: Final = re.compile(r"\d{1,5}")


class Denied(Exception):
    """The server answered something else than success; `code` is its own word for it or ""."""

    def __init__(self, answer: Head, code: str, message: str = "") -> None:
        super().__init__(f"{answer.status} {code}")
        self.status = answer.status
        self.headers = answer.headers
        self.code = code
        self.message = message


def exchange_error(error: Exception, what: str, server: str) -> AgentError:
    """The agent's error where no answer came; `what` begins the message."""
    if isinstance(error, ProxyError):
        return Unavailable(f"{what}: {error}")
    if isinstance(error, Unreached):
        return Unavailable(f"{what}: {server} can't be reached in time: {error}")
    if found := connection_error(error, what, server):
        return found
    if isinstance(error, NotHttp):
        return OutcomeUnknown(f"{what}: {server} does not speak HTTP as expected; check the URL")
    if isinstance(error, OSError):
        return Unavailable(f"{what}: {server} can't be reached: {error}")
    if isinstance(error, KeyError | ValueError):
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        return OutcomeUnknown(
            f"{what}: {server} does not answer as an object store does ({why}); check the URL, and "
            "what is on the way to it"
        )
    return OutcomeUnknown(f"{what}: {type(error).__name__}: {error}")


def redirect_error(denied: Denied, what: str, server: str) -> Refused | None:
    """For an answer that leads elsewhere, which is not followed: it would take the signature, or
    the token, to whoever is named there."""
    parts = urlsplit(denied.headers.get("location", ""))
    if denied.status // 100 != 3 or not parts.netloc:
        return None
    there = f"{parts.scheme}://{parts.netloc}"  # what follows may be meant for one pair of eyes
    return Refused(f"{what}: {server} redirects to {there}; correct the endpoint")


def retry_after(denied: Denied) -> float | None:
    """Seconds that the server wants to be left alone, if it said so (RFC 9110, 10.2.3; the form
    with a date is not used by stores)."""
    value = denied.headers.get("retry-after", "")
    return float(value) if _SECONDS.fullmatch(value) else None
