"""The HTTP clients of Cleo's license service and ticket service (docs/license-protocol.md).

Cleo's own wire format is not public. Whatever speaks another one replaces `VerificationClient` and
`TicketClient`; nothing else in the agent knows URLs, paths or headers.
"""

import asyncio
import logging
import ssl
from dataclasses import asdict, dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass

import httpx
import orjson

from harmony_agent import __version__
from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.core.tls import client_context
from harmony_agent.license.classify import NOBODY, Answer, Happening, NoAnswer, Trouble, Witness
from harmony_agent.license.failures import describe_failure

__all__ = ["Exchange", "TicketClient", "TicketRequest", "VerificationClient", "VerificationRequest"]

log = logging.getLogger(__name__)

_BODY_LIMIT: Final = 64 * 1024
_STEP_LIMIT: Final = 10.0  # seconds for each of: connect, TLS, send, one read
_OVERALL_LIMIT: Final = 30.0  # seconds for one exchange, however slowly bytes drip


@dataclass(frozen=True, slots=True)
class VerificationRequest:
    """The JSON of `POST /v1/verifications`; `licenseSha256` in hex."""

    serial: str | None
    instance: str | None
    verificationCode: str = field(repr=False)  # noqa: N815 - the protocol's own spelling
    licenseSha256: str  # noqa: N815
    system: str
    host: str
    agentVersion: str  # noqa: N815
    requestId: str  # noqa: N815


@dataclass(frozen=True, slots=True)
class TicketRequest:
    """The JSON of `POST /v1/tickets`: `outage` is the outage's id, `outageStarted` RFC 3339 in
    UTC, `kind` a short word for what is wrong, `evidence` sentences for Cleo's support."""

    serial: str | None
    system: str
    host: str
    outage: str
    outageStarted: str  # noqa: N815 - the protocol's own spelling
    kind: str
    evidence: list[str]


class Exchange:
    """One request and its answer, over verified TLS, within time and size limits, without
    redirects, through the proxy that HTTPS_PROXY and NO_PROXY name."""

    def __init__(
        self,
        base: str,
        ca_bundle: Path | None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        step_limit: float = _STEP_LIMIT,
        overall_limit: float = _OVERALL_LIMIT,
    ) -> None:
        self._base = base.rstrip("/")
        self._ca_bundle = ca_bundle
        self._transport = transport
        self._step_limit = step_limit
        self._overall_limit = overall_limit

    async def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Happening:
        """What happened; raises nothing but cancellation."""
        url = self._base + path
        proxy = _proxy_for(httpx.URL(url))
        content = None if body is None else orjson.dumps(body)
        deadline = asyncio.get_running_loop().time() + self._overall_limit
        try:
            context = client_context(self._ca_bundle)
        except OSError as error:  # ssl.SSLError is one too
            detail = f"the CA bundle {self._ca_bundle} can't be read: {error}"
            return NoAnswer(Trouble.CERTIFICATE_UNKNOWN, detail)
        try:
            async with self._client(proxy, context) as client:
                request = client.build_request(method, url, content=content, headers=headers)
                async with asyncio.timeout_at(deadline):
                    response = await client.send(request, stream=True)
                return await _read(response, deadline)
        except (httpx.HTTPError, OSError) as error:  # TimeoutError is an OSError
            happening = describe_failure(error, proxied=proxy is not None)
        except ValueError as error:  # a proxy URL that httpx can't use
            happening = NoAnswer(Trouble.PROXY, f"HTTPS_PROXY can't be used: {error}")
        log.debug(
            "no answer over verified TLS",
            extra={"url": url, "trouble": happening.trouble.value, "detail": happening.detail},
        )
        return happening

    def _client(self, proxy: str | None, context: ssl.SSLContext) -> httpx.AsyncClient:
        # A client per exchange: there is one a day, and no connection worth keeping.
        return httpx.AsyncClient(
            verify=context,
            proxy=proxy,
            transport=self._transport,
            trust_env=False,  # the proxy is chosen here, so that its failures can be told apart
            follow_redirects=False,
            timeout=self._step_limit,
            headers={
                "User-Agent": f"harmony-agent/{__version__}",
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # nothing that could unpack beyond the size limit
            },
        )


class VerificationClient:
    """Asks the license service whether a license is valid."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def verify(self, request: VerificationRequest) -> Happening:
        """One verification; raises nothing but cancellation."""
        return await self._exchange.send("POST", "/v1/verifications", asdict(request))


class TicketClient:
    """Tells Cleo's ticket service of an outage, and is the second witness of one."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def witness(self) -> Witness:
        """Whether the ticket service answers over verified TLS, whatever it answers."""
        happening = await self._exchange.send("HEAD", "/")
        return Witness(True, happening.date) if isinstance(happening, Answer) else NOBODY

    async def open(self, request: TicketRequest) -> str:
        """Open the ticket of an outage and return its number; for the same outage again and again
        it is the same ticket.

        Raises Unavailable (try again) and Refused (the service does not take it as it is).
        """
        happening = await self._exchange.send(
            "POST", "/v1/tickets", asdict(request), {"Idempotency-Key": request.outage}
        )
        if isinstance(happening, NoAnswer):
            raise Unavailable(
                f"Cleo's ticket service can't be reached: {happening.detail or happening.trouble}"
            )
        if happening.status in (200, 201):
            return _ticket_number(happening.body)
        message = f"Cleo's ticket service answered HTTP {happening.status}"
        if 400 <= happening.status < 500 and happening.status not in (408, 425, 429):
            raise Refused(message)
        raise Unavailable(message, retry_after=happening.retry_after)


async def _read(response: httpx.Response, deadline: float) -> Answer:
    """Once the head is there the service has answered: a body that breaks off, or drips on until
    the deadline, is its own fault."""
    date = _moment(response.headers.get("Date", ""))
    wait = _retry_after(response.headers.get("Retry-After", ""), date)
    content = b""
    try:
        async with asyncio.timeout_at(deadline):
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > _BODY_LIMIT:
                    return Answer(response.status_code, None, date, wait)
    except (httpx.HTTPError, OSError):
        return Answer(response.status_code, None, date, wait)
    finally:
        await response.aclose()
    return Answer(response.status_code, content, date, wait)


def _moment(header: str) -> float | None:
    """An HTTP date in seconds since 1970; None if it is none."""
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return date.replace(tzinfo=date.tzinfo or UTC).timestamp()


def _retry_after(header: str, date: float | None) -> float | None:
    """Seconds or an HTTP date (RFC 9110, section 10.2.3), counted from the answer's own Date, since
    our clock may be wrong; None if it is neither, or bygone."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    until = _moment(text)
    return None if until is None or date is None or until <= date else until - date


def _ticket_number(body: bytes | None) -> str:
    try:
        number = orjson.loads(body or b"")["ticket"]
    except (ValueError, KeyError, TypeError):
        number = None
    if not isinstance(number, str) or not number.isprintable() or not 0 < len(number) <= 100:
        raise Unavailable("Cleo's ticket service sent an answer that is not well formed")
    return number


def _proxy_for(url: httpx.URL) -> str | None:
    """The proxy the environment names for an https URL; None: none, or NO_PROXY says so."""
    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    if not proxy or proxy_bypass(f"{url.host}:{url.port or 443}", proxies):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
