"""Which proxy leads to a server, by the usual environment variables, and how to ask it."""

import asyncio
import base64
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import h11

from harmony_agent.core.errors import Refused

__all__ = ["Proxy", "ProxyError", "proxy_for", "tunnel"]

_PORTS: Final = {"http": 80, "https": 443}
_HEAD_LIMIT: Final = 16 * 1024


class ProxyError(OSError):
    """The proxy was reached and does not lead on."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy listens and what it wants to be told; `secure` is TLS to the proxy itself."""

    host: str
    port: int
    secure: bool
    headers: tuple[tuple[str, str], ...]


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
    headers: tuple[tuple[str, str], ...] = ()
    if parts.username:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        word = base64.b64encode(account.encode()).decode()
        headers = (("proxy-authorization", f"Basic {word}"),)
    port = parts.port or _PORTS[parts.scheme]
    return Proxy(parts.hostname, port, parts.scheme == "https", headers)


async def tunnel(
    proxy: Proxy,
    host: str,
    port: int,
    trust: ssl.SSLContext,
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Have the proxy connect `streams` to the server, then begin TLS with that.

    Raises ProxyError if the proxy refuses, and OSError where the connection breaks.
    """
    reader, writer = streams
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
    headers = [("host", authority), *proxy.headers]
    request = h11.Request(method="CONNECT", target=authority, headers=headers)
    writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    try:
        while not isinstance(event := connection.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(_HEAD_LIMIT))
    except h11.RemoteProtocolError as error:
        raise ProxyError(f"the proxy {proxy.host}:{proxy.port} gives no HTTP answer") from error
    if event.status_code // 100 != 2:
        raise ProxyError(
            f"the proxy {proxy.host}:{proxy.port} answered {event.status_code}; check HTTPS_PROXY "
            "and NO_PROXY"
        )
    await writer.start_tls(trust, server_hostname=host)
