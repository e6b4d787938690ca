"""Why a connection failed, told apart the same way for every client library.

The libraries wrap the operating system's error in classes of their own, each in its own way; the
original is found by following causes, contexts, arguments and groups.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from harmony_agent.core.errors import AgentError, OutcomeUnknown, Refused, Unavailable

__all__ = ["connection_error", "unwrapped"]

_CERTIFICATE_WORDS: Final = ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed")
# OpenSSL's words (crypto/x509/x509_txt.c, and `mismatch` of Python's ssl), and what they mean.
_CERTIFICATE_FAULTS: Final = {
    "certificate has expired": "has expired; renew it there, or correct this machine's clock",
    "not yet valid": "is not valid yet; correct this machine's clock",
    "mismatch, certificate is not valid": "is for another name; correct the server's name in the "
    "settings, or its certificate",
}
_UNKNOWN_AUTHORITY: Final = (
    "is not trusted; name the authority's certificate as caBundle or HARMONY_AGENT_CA_BUNDLE"
)


def unwrapped(error: BaseException) -> Iterator[BaseException]:
    """`error` and everything it wraps, outermost first, each once."""
    seen: set[int] = set()
    queue: list[BaseException] = [error]
    while queue:
        current = queue.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        wrapped = [current.__cause__, current.__context__, *current.args]
        if isinstance(current, BaseExceptionGroup):
            wrapped.extend(current.exceptions)
        queue.extend(item for item in wrapped if isinstance(item, BaseException))


def connection_error(error: BaseException, what: str, server: str) -> AgentError | None:
    """What went wrong between us and `server`, or None if nothing in `error` tells.

    `what` begins the message: the operation and the place.
    """
    found = list(unwrapped(error))

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(item, kinds) for item in found)

    texts = " ".join(map(str, found))
    if has(ssl.SSLCertVerificationError) or any(word in texts for word in _CERTIFICATE_WORDS):
        faults = (fault for words, fault in _CERTIFICATE_FAULTS.items() if words in texts)
        fault = next(faults, _UNKNOWN_AUTHORITY)
        return Refused(f"{what}: the certificate of {server} {fault}")
    if has(ssl.SSLError):
        return Unavailable(f"{what}: {server} does not speak TLS as expected; check the URL")
    if has(socket.gaierror):
        return Unavailable(f"{what}: the name {server} can't be resolved; check it and DNS")
    # asyncio keeps only the texts if a name has several addresses and all of them fail.
    refused = f"[Errno {errno.ECONNREFUSED}]"
    if has(ConnectionRefusedError) or any(refused in str(item) for item in found):
        return Unavailable(f"{what}: {server} refuses the connection; is the server up?")
    if has(TimeoutError, asyncio.TimeoutError):
        return OutcomeUnknown(f"{what}: {server} did not answer in time")
    if has(ConnectionError, EOFError):
        return OutcomeUnknown(f"{what}: {server} closed the connection")
    return None
