"""HTTP to one storage server: a bounded pool of connections, through a proxy where there is one.

Written for what the object stores need and no more: no redirects (a store's redirect is an error to
tell), no cookies, no compression. docs/architecture.md says why no library does this here.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from harmony_agent.repositories.http.answer import Head
from harmony_agent.repositories.http.connection import PIECE, Beat, Connection, Stream, no_beat
from harmony_agent.repositories.http.proxy import Proxy, proxy_for, tunnel
from harmony_agent.repositories.limits import CONNECT, PARALLEL

__all__ = ["Answer", "HttpClient", "StreamedAnswer", "Unreached"]

_KEPT: Final = 60.0  # seconds that an idle connection is kept; servers close them after 60 to 240
_PORTS: Final = {"http": 80, "https": 443}


class Unreached(OSError):
    """No connection within the limit: nothing was sent."""


@dataclass(frozen=True, slots=True)
class Answer(Head):
    """An answer with its whole body."""

    body: bytes


@dataclass(frozen=True, slots=True)
class StreamedAnswer(Head):
    """An answer whose body comes in pieces."""

    pieces: AsyncIterator[bytes]

    async def whole(self) -> Answer:
        """The answer with all that is left of its body; for those that tell of an error."""
        body = b"".join([piece async for piece in self.pieces])
        return Answer(self.status, self.headers, body)


class HttpClient:
    """Requests to the server of `url`; targets are paths with their query, percent-encoded.

    Raises OSError (ssl.SSLError, Unreached, ProxyError) where the server can't be reached or the
    connection breaks, NotHttp where it does not speak HTTP. Sets no time limit but that for
    connecting: the caller does.
    """

    def __init__(self, url: str, trust: ssl.SSLContext) -> None:
        """Raises Refused if the environment names no usable proxy."""
        parts = urlsplit(url)
        assert parts.hostname is not None, "settings hold whole URLs"
        self._host, self._secure = parts.hostname, parts.scheme == "https"
        self._port = parts.port or _PORTS[parts.scheme]
        self.authority = parts.netloc.rpartition("@")[2].removesuffix(f":{_PORTS[parts.scheme]}")
        """The value of the Host header."""
        self._trust = trust
        self._proxy = proxy_for(parts.scheme, parts.hostname)
        self._before_target = ""
        self._extra = {"host": self.authority}
        if self._proxy and not self._secure:  # a proxy takes the whole URL
            self._before_target = f"http://{self.authority}"
            self._extra |= self._proxy.headers
        self._new = partial(Connection, memoryview(bytearray(PIECE)))
        self._slots = asyncio.Semaphore(PARALLEL)
        self._idle: deque[tuple[float, Connection]] = deque()  # since when, on the loop's clock
        self._is_closed = False

    async def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Stream = b"",
        beat: Beat = no_beat,
    ) -> Answer:
        """Send a request and take the whole answer."""
        target, named = self._before_target + target, {**self._extra, **headers}
        async with self._slots:
            connection = await self._connection()
            try:
                head, content = await connection.ask(method, target, named, body, beat)
                self._require_passage(head)
            except BaseException:
                self._close_idle()
                raise
            finally:
                self._put_back(connection)
        return Answer(head.status, head.headers, content)

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, headers: Mapping[str, str]
    ) -> AsyncIterator[StreamedAnswer]:
        """Send a request and take the answer's body piece by piece."""
        target, named = self._before_target + target, {**self._extra, **headers}
        async with self._slots:
            connection = await self._connection()
            try:
                head = await connection.exchange(method, target, named)
                self._require_passage(head)
                yield StreamedAnswer(head.status, head.headers, connection.pieces(no_beat))
            except BaseException:
                self._close_idle()
                raise
            finally:
                self._put_back(connection)

    async def _connection(self) -> Connection:
        """The one used last, since servers close those that are idle for long; else a new one."""
        old = asyncio.get_running_loop().time() - _KEPT
        while self._idle and self._idle[0][0] < old:
            self._idle.popleft()[1].close()
        while self._idle:
            _, connection = self._idle.pop()
            if connection.reusable:
                return connection
            connection.close()
        try:
            async with asyncio.timeout(CONNECT):
                return await self._dial()
        except TimeoutError as error:
            by = f" by {self._proxy}" if self._proxy else ""
            raise Unreached(f"no connection{by} within {CONNECT:g} s") from error

    def _require_passage(self, head: Head) -> None:
        """A server's answers are its own affair, but not one of the proxy on the way to it."""
        if self._proxy and not self._secure and (refusal := self._proxy.refusal(head.status)):
            raise refusal

    def _put_back(self, connection: Connection) -> None:
        if connection.reusable and not self._is_closed:
            self._idle.append((asyncio.get_running_loop().time(), connection))
        else:
            connection.close()

    async def _dial(self) -> Connection:
        if self._proxy:
            return await self._dial_by(self._proxy)
        _, connection = await asyncio.get_running_loop().create_connection(
            self._new,
            self._host,
            self._port,
            ssl=self._trust if self._secure else None,
            happy_eyeballs_delay=0.25,
        )
        return connection

    async def _dial_by(self, proxy: Proxy) -> Connection:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                self._new, proxy.host, proxy.port, ssl=self._trust if proxy.secure else None
            )
        except OSError as error:
            raise proxy.unreached(error) from error
        if self._secure:
            try:
                await tunnel(proxy, self._host, self._port, self._trust, connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def close(self) -> None:
        """Close all idle connections; those in use close when their exchange is over."""
        self._is_closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        """Also after an exchange that broke or was given up: what befell one connection, such as a
        firewall that forgot it, has befallen the idle ones as well, and to find that out would
        cost an operation's whole time limit for each."""
        while self._idle:
            self._idle.pop()[1].close()
