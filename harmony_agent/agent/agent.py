"""The agent's life: start, serve, drain."""

import asyncio
import logging
from collections.abc import Mapping

from harmony_agent import __version__
from harmony_agent.agent.directories import StateLock, check_directories
from harmony_agent.agent.logging_job import LoggingJob
from harmony_agent.agent.process_signals import stop_on_signals
from harmony_agent.agent.storage import Storage
from harmony_agent.agent.tasks import RootTasks
from harmony_agent.agent.web_side import WebSide
from harmony_agent.core.errors import AgentError
from harmony_agent.license.loop import LicenseLoop, LicenseOver
from harmony_agent.lifecycle.drain import Deadline, harmony_gone
from harmony_agent.lifecycle.exit import announce_exit, withdraw_exit
from harmony_agent.lifecycle.health import Health
from harmony_agent.lifecycle.signals import ExitSignal, SignalDirectory
from harmony_agent.settings import Settings
from harmony_agent.settings.rotation import watch_secrets

__all__ = ["Agent"]

log = logging.getLogger(__name__)

_LAST_PUSH = 0.3  # share of the drain's deadline kept back for the last push
_STOP_LIMIT = 5.0  # seconds for cancelled tasks to end
_SECRETS_LOOP_LIMIT = 120.0  # seconds; its turn takes ten


class Agent:
    """One run of the sidecar beside one Harmony."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], flags: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._flags = flags
        self._health = Health()
        self._signals = SignalDirectory(settings.signal_dir)
        self._tasks = RootTasks()
        self._told_exit: ExitSignal | None = None
        self._storage: Storage
        self._logs: LoggingJob
        self._license: LicenseLoop | None = None
        self._web: WebSide

    async def run(self) -> int:
        """Until SIGTERM (0), the license's end (77), or a failure (1)."""
        check_directories(self._settings)
        lock = StateLock(self._settings.state_dir)
        try:
            with stop_on_signals() as stop:
                self._health.on_started = self._tell_ready
                await self._start()
                code = await self._serve(stop)
                await self._drain()
                return code
        finally:
            lock.release()

    async def init(self, limit: float) -> int:
        """Steps 1 to 5, then the end: 0 done, 77 license refused, 1 not done within `limit` s."""
        check_directories(self._settings)
        lock = StateLock(self._settings.state_dir)
        try:
            with stop_on_signals() as stop:
                done = asyncio.Event()
                self._health.on_started = done.set
                await self._start()
                code = await self._serve(stop, done, limit)
                await self._drain()
                return code
        finally:
            lock.release()

    async def _serve(
        self, stop: asyncio.Event, done: asyncio.Event | None = None, limit: float | None = None
    ) -> int:
        """Until asked to stop, until `done`, or until a root task ends; the exit code."""
        self._tasks.start("stop", stop.wait())
        if done is not None:
            self._tasks.start("done", done.wait())
        try:
            async with asyncio.timeout(limit):
                ended = await self._tasks.first_end()
        except TimeoutError:
            missing = ", ".join(c.name for c in self._health.startup() if c.level is Level.FAILED)
            log.error("giving up after %g s: %s not done", limit, missing)
            return EXIT_FAILURE
        except LicenseOver as over:
            self._told_exit = over.signal
            return over.signal.code
        except AgentError as error:
            log.critical("%s", error)
            return EXIT_FAILURE
        except Exception:
            log.critical("a fault of the agent itself ends it", exc_info=True)
            return EXIT_FAILURE
        if ended not in ("stop", "done"):
            log.critical("the task %s ended, which it never should", ended)
            return EXIT_FAILURE
        return 0
