"""One connection to an SMB server, with the faults of the library mended."""

import asyncio
import contextlib
import os
import socket
import threading
import uuid
from typing import Any, Final, Self

import smbclient
from smbclient._pool import get_smb_tree  # not public, but it alone connects to a share by name
from smbprotocol.connection import Connection
from smbprotocol.exceptions import SMBConnectionClosed
from smbprotocol.session import SMB2SessionSetupRequest
from smbprotocol.transport import Tcp

from harmony_agent.core.errors import Unavailable
from harmony_agent.repositories.limits import CONNECT, CONTROL_LIMIT
from harmony_agent.repositories.smb.calls import Calls
from harmony_agent.repositories.smb.transport import LoopTransport
from harmony_agent.settings.model import SmbRepository

__all__ = ["SmbConnection"]

# Each thread has at most one request of 8 MiB or seven small ones under way; 64 KiB are one credit
# ([MS-SMB2] 3.2.4.1.2). Samba and Windows give up to 8,192.
_CREDITS: Final = 3072
_PORTIONS: Final = 8

# A connection whose server is silent for twice this time is closed by the library. It has no other
# way to set it (smbprotocol 1.17, connection.py).
os.environ.setdefault("SMB_EXPERIMENTAL_TRANSPORT_RECEIVE_TIMEOUT", f"{CONTROL_LIMIT:.0f}")


class _Connections(dict[str, Any]):
    """Where smbclient looks for connections: its own place is shared between accounts.

    To the server `key` it never connects by itself, since such a connection would have but a few
    credits, and each thread that lost the old one would make another.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def get(self, key: str, default: Any = None) -> Any:
        found = super().get(key, default)
        if key == self._key and (found is None or not found.transport.connected):
            raise SMBConnectionClosed("the connection is gone")
        return found


class _Pinned(dict[str, Any]):
    """The same for one connection only, whatever the server: another would not hold our lock."""

    def get(self, key: str, default: Any = None) -> Any:
        found = super().get(key, default)
        if found is None or not found.transport.connected:
            raise SMBConnectionClosed("the connection that held the lock is gone")
        return found


class _Requests(dict[int, Any]):
    """Requests under way. When the connection ends, the library goes through them to wake who waits
    for their answers, while those take theirs away: one that it misses would wait for ever."""

    def values(self) -> list[Any]:  # type: ignore[override]  # a copy is the point of it
        return list(super().values())


class _Connection(Connection):  # type: ignore[misc]  # smbprotocol has no types
    """One whose bytes the loop moves. The library makes its transport while it connects; that it
    may be another class is not foreseen there."""

    def __init__(
        self, settings: SmbRepository, loop: asyncio.AbstractEventLoop, previous: int
    ) -> None:
        """`previous` is the id of the session that this connection's takes the place of."""
        self._loop = loop
        self._previous = previous
        self._transport: LoopTransport | None = None
        super().__init__(uuid.uuid4(), settings.server, settings.port)
        self.outstanding_requests = _Requests()

    @property
    def transport(self) -> LoopTransport | None:
        """What moves the bytes; None before the connection is made."""
        return self._transport

    @transport.setter
    def transport(self, plain: Tcp | None) -> None:
        self._transport = LoopTransport(plain, self._loop) if plain else None

    def send(self, message: Any, *args: Any, **more: Any) -> Any:
        """See the library. A new session says which one it replaces, [MS-SMB2] 3.3.5.5.3: the
        server ends that one, and frees what it held (the repository's lock, above all), although
        its connection may look alive from there for minutes after it was cut."""
        if isinstance(message, SMB2SessionSetupRequest):
            message["previous_session_id"] = self._previous
        return super().send(message, *args, **more)


class SmbConnection:
    """Connects when it is needed, and anew after the server was gone. For any thread."""

    def __init__(self, settings: SmbRepository) -> None:
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: Calls | None = None
        self._key = f"{settings.server.lower()}:{settings.port}"
        self._cache = _Connections(self._key)
        self._newest: _Connection | None = None  # perhaps not connected yet
        self._session = 0  # the id of the newest; 0: none yet
        self._connecting = threading.Lock()
        self._sharing = threading.Lock()
        self._is_closed = False
        user = f"{settings.domain}\\{settings.user}" if settings.domain else settings.user
        self._arguments = {
            "username": user,
            "password": settings.password.get_secret_value(),
            "port": settings.port,
            "encrypt": settings.encrypt or None,  # the server may demand it all the same
            "connection_timeout": int(CONNECT),
            "connection_cache": self._cache,
        }

    def in_loop(self) -> Self:
        """Have the present loop move the bytes of connections that are made from now on."""
        self._loop = asyncio.get_running_loop()
        return self

    @property
    def ready(self) -> Calls | None:
        """What `calls` gave, if its connection stands. Does not block."""
        return self._calls if self._calls is not None and self._calls.is_alive else None

    def calls(self) -> Calls | None:
        """Calls of the share from the loop, over the connection, which is made if need be; None if
        this server or share is one that only smbprotocol knows how to talk to. Raises what
        `arguments` does."""
        share = rf"\\{self._settings.server}\{self._settings.share}"
        with self._sharing:  # one thread connects to the share, for all
            if self.ready is not None:
                return self.ready
            tree, _ = get_smb_tree(share, **self.arguments())
            connection = tree.session.connection
            is_ours = isinstance(connection, _Connection) and connection.transport is not None
            if not is_ours or tree.is_dfs_share or not connection.supports_multi_credit:
                return None
            self._calls = Calls(tree, connection.transport)
            return self._calls

    def arguments(self) -> dict[str, Any]:
        """The arguments of every call of smbclient, with the connection up.

        Raises Unavailable if another thread takes long to connect, or what smbprotocol raises.
        """
        # One thread connects; the others would each open a connection of their own.
        if not self._connecting.acquire(timeout=CONNECT):
            raise Unavailable(f"{self._settings.server} is still being connected to")
        try:
            self._require_open()
            if self._key not in self._cache or not self._cache[self._key].transport.connected:
                self._cache[self._key] = self._connect()
        finally:
            self._connecting.release()
        return self._arguments

    def pinned(self, connection: Connection) -> dict[str, Any]:
        """Arguments that never lead to another connection than this one."""
        return {**self._arguments, "connection_cache": _Pinned({self._key: connection})}

    def _connect(self) -> Connection:
        """A connection with a session, under an id of its own: smbclient gives all of a process one
        id; Samba hands those to one server process, and of two at the same instant one may get no
        answer."""
        assert self._loop is not None, "nobody called in_loop"
        connection = _Connection(self._settings, self._loop, self._session)
        self._newest = connection
        try:
            connection.connect(timeout=int(CONNECT))
            self._require_open()
            only = self.pinned(connection)
            session = smbclient.register_session(self._settings.server, **only)
            self._session = session.session_id
            _collect_credits(session)
        except BaseException:
            if connection.transport:
                connection.disconnect(close=False)
            raise
        return connection

    def give_up(self) -> None:
        """End the connection, which frees the threads that wait on it; does not block."""
        for connection in {*self._cache.values(), self._newest}:
            transport = connection.transport if connection is not None else None
            if isinstance(transport, LoopTransport):
                transport.close()
            elif transport is not None:  # to another server, that a link of DFS names
                # The library's own `close` would wait for a thread that hangs in sending.
                with contextlib.suppress(AttributeError, OSError):  # not open, or closed already
                    transport._sock.shutdown(socket.SHUT_RDWR)

    def disconnect(self) -> None:
        """Log off and close the connection, for good."""
        self._is_closed = True
        for key in list(self._cache):
            connection = self._cache.pop(key)
            try:
                connection.disconnect(timeout=CONNECT)
            finally:  # also if the server does not answer that
                connection.transport.close()

    def _require_open(self) -> None:
        # An operation that outlives the repository would open a connection that nobody closes.
        if self._is_closed:
            raise SMBConnectionClosed("the repository is closed")


def _collect_credits(session: Any) -> None:
    """Ask for enough credits: a request that lacks some fails at once instead of waiting, and a new
    connection has few. A server may give them in several portions, or less."""
    connection = session.connection
    for _ in range(_PORTIONS):
        window = connection.sequence_window
        if (missing := _CREDITS - (window["high"] - window["low"])) <= 0:
            return
        connection.echo(session.session_id, timeout=CONNECT, credit_request=missing)
