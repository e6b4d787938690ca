"""Which proxy leads to a server, by the usual environment variables, and how to ask it."""

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from harmony_agent.core.errors import Refused
from harmony_agent.repositories.http_answer import NotHttp
from harmony_agent.repositories.http_connection import Connection

__all__ = ["Proxy", "ProxyError", "proxy_for", "tunnel"]

_PORTS: Final = {"http": 80, "https": 443}


class ProxyError(OSError):
    """The proxy was reached and does not lead on."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy listens and what it wants to be told; `secure` is TLS to the proxy itself."""

    host: str
    port: int
    secure: bool
    headers: Mapping[str, str]


def proxy_for(scheme: str, host: str) -> Proxy | None:
    """The proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY (also in lower case) for a server that
    NO_PROXY does not name. Raises Refused for one that is no http(s) URL."""
    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or proxy_bypass(host):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise Refused(f"{scheme.upper()}_PROXY is no http:// or https:// URL; correct it")
    headers = {}
    if parts.username:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        word = base64.b64encode(account.encode()).decode()
        headers = {"proxy-authorization": f"Basic {word}"}
    port = parts.port or _PORTS[parts.scheme]
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
        raise ProxyError(f"the proxy {proxy.host}:{proxy.port} gives no HTTP answer") from error
    if head.status // 100 != 2:
        raise ProxyError(
            f"the proxy {proxy.host}:{proxy.port} answered {head.status}; check HTTPS_PROXY "
            "and NO_PROXY"
        )
    await connection.start_tls(trust, host)
