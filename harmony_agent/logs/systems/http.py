"""One HTTP service of a log system: TLS, time limits, and its failures in the agent's own words."""

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import httpx

from harmony_agent import __version__
from harmony_agent.core import tls
from harmony_agent.core.errors import AgentError, OutcomeUnknown, Refused, Unavailable

__all__ = ["USER_AGENT", "HttpService", "client_context", "failure", "retry_after"]

# Splunk answers clients without a User-Agent in HTTP/1.0 (server.conf, forceHttp10=auto), which
# would cost a new connection for each request.
USER_AGENT: Final = f"harmony-agent/{__version__}"

_CONNECT_LIMIT: Final = 10.0
_REQUEST_LIMIT: Final = 60.0
_LONGEST_WAIT: Final = 900.0
# What a server without our certificate says in TLS 1.3 and 1.2.
_NO_CLIENT_CERTIFICATE: Final = (
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
)
# Datadog tells seconds to the next window in X-RateLimit-Reset, everybody else uses Retry-After.
_WAIT_HEADERS: Final = ("retry-after", "x-ratelimit-reset")


class HttpService:
    """Keep-alive connections to one base URL. Proxies are taken from the environment, cookies are
    kept (load balancers pin a client by them), redirects are not followed."""

    def __init__(
        self, name: str, base: str, *, context: ssl.SSLContext, headers: Mapping[str, str]
    ) -> None:
        self._name = name
        self._client = httpx.AsyncClient(
            base_url=base,
            verify=context,
            headers={"User-Agent": USER_AGENT, **headers},
            timeout=httpx.Timeout(_REQUEST_LIMIT, connect=_CONNECT_LIMIT),
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=6),
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """The answer, whatever its status.

        Raises OutcomeUnknown if the request was sent and no whole answer came, Unavailable if it
        could not be sent, and Refused if certificates or URL have to be changed by a person.
        """
        try:
            async with asyncio.timeout(_REQUEST_LIMIT):
                return await self._client.request(
                    method, path, content=content, headers=headers, params=params
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise failure(self._name, error) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def client_context(*bundles: Path | None, client_certificate: Path | None = None) -> ssl.SSLContext:
    """A verifying context: the system's authorities, those of `bundles`, and for mutual TLS the
    certificate and key of a PEM file.

    Raises Refused if one of the files can't be read or used.
    """
    try:
        if client_certificate is None:
            return tls.client_context(*bundles)
        # A context of its own: the shared ones must not show this certificate to other servers.
        context = ssl.create_default_context()
        for bundle in bundles:
            if bundle is not None:
                context.load_verify_locations(cafile=bundle)
        context.load_cert_chain(client_certificate)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(f) for f in (*bundles, client_certificate) if f is not None)
        raise Refused(
            f"the certificates in {files} can't be used ({error}); they must be readable PEM files"
        ) from error
    return context


def failure(name: str, error: BaseException) -> AgentError:
    """What a failed exchange with the service `name` means for the caller.

    Looks through the chain of causes: every HTTP library hides the error that tells most.
    """
    causes = list(_chain(error))
    words = next((str(c) for c in causes if str(c)), type(error).__name__)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = getattr(cause, "verify_message", "") or str(cause)
            return Refused(
                f"{name}: its certificate is not trusted ({reason}); add the "
                "authority that issued it by caBundle or HARMONY_AGENT_CA_BUNDLE"
            )
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_CLIENT_CERTIFICATE:
            return Refused(
                f"{name}: it refuses the TLS handshake; if it asks for a client certificate, set "
                "clientCertificate"
            )
    if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
        return Refused(f"{name}: the URL is not usable ({words})")
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)):
        return Unavailable(f"{name}: no connection ({words})")
    return OutcomeUnknown(f"{name}: no whole answer ({words})")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """How many seconds the other side asks to wait, at most 15 minutes; None if it does not say.

    Seconds or an HTTP date in Retry-After (RFC 9110, 10.2.3), seconds in X-RateLimit-Reset.
    `headers` must not care about case.
    """
    for header in _WAIT_HEADERS:
        text = headers.get(header)
        if text is None:
            continue
        try:
            seconds = float(text)
        except ValueError:
            try:
                moment = parsedate_to_datetime(text)
            except ValueError:
                continue
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            seconds = (moment - (now or datetime.now(UTC))).total_seconds()
        if seconds == seconds:  # noqa: PLR0124 - not NaN
            return min(max(seconds, 0.0), _LONGEST_WAIT)
    return None
