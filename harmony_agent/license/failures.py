"""httpx's and ssl's exceptions become what happened: the one seam to the HTTP library's errors."""

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx

from harmony_agent.license.classify import NoAnswer, Trouble

__all__ = ["describe_failure"]

# OpenSSL's X509_V_ERR_… numbers (openssl/x509_vfy.h). Everything else about a certificate means
# that no known authority vouches for it.
_NOT_YET_VALID: Final = 9
_HAS_EXPIRED: Final = 10
_HOSTNAME_MISMATCH: Final = 62
_IP_ADDRESS_MISMATCH: Final = 64

# Not failures: ssl's way to ask for more bytes, left behind in the context of what came after.
_WANTS: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError)

_NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)


def describe_failure(error: Exception, *, proxied: bool) -> NoAnswer:
    """What happened, from the exception of one exchange and everything chained to it.

    `error` is an httpx.HTTPError, an OSError or a TimeoutError. With `proxied` the other end of
    the TCP connection is the proxy: that it can't be reached is the proxy's trouble.
    """
    chain = tuple(e for e in _chained(error) if not isinstance(e, _WANTS))
    detail = next((text for text in map(str, chain) if text), type(error).__name__)
    return NoAnswer(_trouble(chain, proxied=proxied), detail[:300])


def _trouble(chain: tuple[BaseException, ...], *, proxied: bool) -> Trouble:
    if any(isinstance(e, httpx.ProxyError | httpx.UnsupportedProtocol) for e in chain):
        return Trouble.PROXY
    for error in chain:
        if isinstance(error, ssl.SSLCertVerificationError):
            return _certificate_trouble(error)
    # A broken handshake is no statement about a certificate: like a connection that broke off.
    if any(isinstance(e, ssl.SSLError) for e in chain):
        return Trouble.RESET
    unconnected = _connect_trouble(chain)
    if unconnected is not None:
        return Trouble.PROXY if proxied else unconnected
    if any(isinstance(e, TimeoutError | httpx.TimeoutException) for e in chain):
        return Trouble.TIMED_OUT
    return Trouble.RESET


def _connect_trouble(chain: tuple[BaseException, ...]) -> Trouble | None:
    """Why no TCP connection came about; None if one did, or if that can't be told."""
    for error in chain:
        if isinstance(error, socket.gaierror):
            return Trouble.UNRESOLVABLE
        if isinstance(error, ConnectionRefusedError):
            return Trouble.REFUSED
        if isinstance(error, OSError) and error.errno in _NO_ROUTE:
            return Trouble.NO_ROUTE
    return None


def _certificate_trouble(error: ssl.SSLCertVerificationError) -> Trouble:
    if error.verify_code in (_NOT_YET_VALID, _HAS_EXPIRED):
        return Trouble.CERTIFICATE_DATE
    if error.verify_code in (_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH):
        return Trouble.CERTIFICATE_NAME
    return Trouble.CERTIFICATE_UNKNOWN


def _chained(error: BaseException) -> Iterator[BaseException]:
    """The innermost first: httpx wraps httpcore, which wraps anyio, which wraps (a group of)
    the operating system's."""
    cause = error.__cause__ or error.__context__
    if cause is not None:
        yield from _chained(cause)
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _chained(part)
    yield error
