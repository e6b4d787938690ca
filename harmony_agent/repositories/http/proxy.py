"""Which proxy leads to a server, by the usual environment variables, and how to ask it."""

import base64
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from harmony_agent.core.errors import Refused
from harmony_agent.repositories.http.answer import NotHttp
from harmony_agent.repositories.http.connection import Connection

__all__ = ["Proxy", "ProxyError", "proxy_for", "tunnel"]

_PORTS: Final = {"http": 80, "https": 443}
_CHECK: Final = "check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"
_LOGIN_WANTED: Final = 407  # RFC 9110, 15.5.8


class ProxyError(OSError):
    """The proxy was reached and does not lead on."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy listens and what it wants to be told; `secure` is TLS to the proxy itself."""

    host: str
    port: int
    secure: bool
    headers: Mapping[str, str]

    def __str__(self) -> str:
        """As people name it, without user and password."""
        return f"the proxy {self.host}:{self.port}"

    def unreached(self, error: OSError) -> ProxyError:
        """The error for one to which no connection can be made."""
        no_text = isinstance(error, ssl.SSLError) or (error.errno or 0) <= 0
        why = error.strerror or str(error) if no_text else os.strerror(error.errno or 0)
        return ProxyError(f"{self} can't be reached ({why}); {_CHECK}")

    def refusal(self, status: int) -> ProxyError | None:
        """The error for an answer that is surely the proxy's own, None for others."""
        if status != _LOGIN_WANTED:
            return None
        given = "does not accept the user and password" if self.headers else "wants a login"
        return ProxyError(f"{self} {given}; write http://user:password@host:port; {_CHECK}")


def proxy_for(scheme: str, host: str) -> Proxy | None:
    """The proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY (also in lower case) for a server that
    NO_PROXY does not name. Raises Refused for one that is no http(s) URL."""
    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or proxy_bypass(host):
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        default = _PORTS[parts.scheme]
        port = parts.port or default
    except (ValueError, KeyError):
        port = 0
    if not port or not parts.hostname:
        raise Refused(f"{scheme.upper()}_PROXY is no http:// or https:// URL; correct it")
    headers = {}
    if parts.username:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        word = base64.b64encode(account.encode()).decode()
        headers = {"proxy-authorization": f"Basic {word}"}
    return Proxy(parts.hostname, port, parts.scheme == "https", headers)


async def tunnel(
    proxy: Proxy, host: str, port: int, trust: ssl.SSLContext, connection: Connection
) -> None:
    """Have the proxy lead `connection` on to the server, then begin TLS with that.

    Raises ProxyError if the proxy refuses, and OSError where the connection breaks.
    """
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        head = await connection.exchange("CONNECT", authority, {"host": authority, **proxy.headers})
    except (NotHttp, ConnectionError) as error:
        raise ProxyError(f"{proxy} gives no HTTP answer; {_CHECK}") from error
    if head.status // 100 != 2:
        refusal = proxy.refusal(head.status)
        raise refusal or ProxyError(f"{proxy} answered {head.status} for {host}; {_CHECK}")
    await connection.start_tls(trust, host)
