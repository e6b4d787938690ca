"""uvicorn's HTTP connection with what it lacks: limits for clients that are slow or say nothing.

uvicorn (0.54, h11_impl.py) closes only a connection that has already had an answer; one that
never sends a whole request, or never reads its answer, is kept for ever, and at its
`limit_concurrency` uvicorn answers 503, probes included: a few idle connections would have the
kubelet kill the agent.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["MOST_CONNECTIONS", "PATIENCE", "Connection"]

PATIENCE: Final = 20.0
"""Seconds for a whole request head to arrive, and for the client to read on."""

MOST_CONNECTIONS: Final = 256
"""Beyond these a new connection takes the place of the one that has been idle longest."""


class Connection(H11Protocol):
    """One connection; idle means that no request of it is being answered."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle_since = self.loop.time()
        self._unread = 0
        self._timer: asyncio.TimerHandle | None = None

    # uvicorn itself narrows the argument against asyncio.Protocol.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room if need be, and start waiting for a request."""
        super().connection_made(transport)
        self._await_request()
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the client to read the answer and to send the next request."""
        self._await_request()
        super().on_response_complete()

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _make_room(self) -> None:
        others = [
            connection
            for connection in self.connections
            if isinstance(connection, Connection)
            and connection is not self
            and not connection.transport.is_closing()
        ]
        if len(others) >= MOST_CONNECTIONS:
            min(others, key=lambda other: (other._busy, other._idle_since)).transport.abort()

    def _await_request(self) -> None:
        self._idle_since = self.loop.time()
        self._unread = 0
        self._start_timer()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(PATIENCE, self._look)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Give up on a client that has made no progress since the last look."""
        unread, before = self.transport.get_write_buffer_size(), self._unread
        self._unread = unread
        waits_for_us = unread == 0 and self._busy
        reads_on = unread > 0 and (before == 0 or unread < before)
        if waits_for_us or reads_on:
            self._start_timer()
        else:
            self.transport.abort()
