"""Serves probes, metrics, API and page on TCP, and the same with commands on the control socket."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import uvicorn

from harmony_agent.web.app import build_apps
from harmony_agent.web.connection import Connection
from harmony_agent.web.parts import Parts
from harmony_agent.web.sockets import BACKLOG, CONTROL_NAME, bind_control, bind_tcp

__all__ = ["Server"]

log = logging.getLogger(__name__)

_HEADERS: Final = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
_END_LIMIT: Final = 2  # seconds for answers under way when the agent ends


class Server:
    """The agent's HTTP side: `start`, then `serve` as a root task, `stop` at the end.

    `bind` is (host, port), None for port 8090 of every address; `state_dir` exists and gets the
    control socket.
    """

    def __init__(self, parts: Parts, bind: tuple[str, int] | None, state_dir: Path) -> None:
        self._parts = parts
        self._bind = bind
        self._control = state_dir / CONTROL_NAME
        self._control_inode = 0
        self._servers: list[_Uvicorn] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.port = 0
        """The TCP port, once started."""

    async def start(self) -> None:
        """Bind and answer: when this returns, a probe gets its answer.

        Raises Refused if the port or the control socket can't be had.
        """
        with contextlib.ExitStack() as undo:
            tcp = bind_tcp(self._bind)
            for listener in tcp:
                undo.callback(listener.close)
            control = bind_control(self._control.parent)
            undo.callback(control.close)
            self._control_inode = self._control.stat().st_ino
            self.port = tcp[0].getsockname()[1]
            tcp_app, control_app = build_apps(self._parts)
            await self._launch("web", tcp_app, tcp)
            await self._launch("control socket", control_app, [control])
            undo.pop_all()
        log.info("listening", extra={"port": self.port, "control": str(self._control)})

    async def _launch(self, name: str, app: Any, listeners: list[socket.socket]) -> None:
        server = _Uvicorn(_config(app))
        task = asyncio.create_task(server.serve(sockets=listeners), name=name)
        self._servers.append(server)
        self._tasks.append(task)
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            await task  # raises what kept it from listening

    async def serve(self) -> None:
        """Return once stopped; raises what ended a server early."""
        await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        """Stop listening, give answers under way a moment, remove the control socket."""
        for server in self._servers:
            server.end()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            # Another agent may have put its own there since.
            if self._control.stat().st_ino == self._control_inode:
                self._control.unlink()


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        interface="asgi3",
        lifespan="off",
        # Else a loopback peer could name any other by X-Forwarded-For.
        proxy_headers=False,
        server_header=False,
        headers=_HEADERS,
        log_config=None,
        log_level="error",  # a port scan must not fill the agent's log
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_END_LIMIT,
    )


class _Uvicorn(uvicorn.Server):
    """uvicorn as a guest: signals are the agent's own, and nothing wakes ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._ended = asyncio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # at 0 it renews the Date header
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._ended.wait()
