"""The agent's life: start, serve, drain."""

import asyncio
import logging
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from harmony_agent.agent.directories import StateLock, check_directories, sweep_directories
from harmony_agent.agent.memory import keep_small
from harmony_agent.agent.process_signals import stop_on_signals
from harmony_agent.agent.tasks import RootTasks
from harmony_agent.core.errors import AgentError, Unavailable
from harmony_agent.lifecycle.drain import Deadline, harmony_gone
from harmony_agent.lifecycle.health import Health, Level
from harmony_agent.lifecycle.signals import EXIT_CODE_LICENSE, SignalDirectory
from harmony_agent.settings.model import Settings
from harmony_agent.settings.rotation import watch_secrets
from harmony_agent.web.answers import BadRequest
from harmony_agent.web.parts import Command, Parts
from harmony_agent.web.server import Server

if TYPE_CHECKING:
    from harmony_agent.agent.jobs import Jobs

__all__ = ["Agent"]

log = logging.getLogger(__name__)

_FAILURE: Final = 1
_LAST_PUSH: Final = 0.4  # share of the drain's deadline that is kept back for the last push
_STOP_LIMIT: Final = 5.0  # seconds for canceled tasks to end
_LETTERS: Final = ("list", "show", "resend", "remove")  # `harmony-agent dead-letters …`
_READY_RETRY: Final = 2.0  # seconds
_SECRETS_LIMIT: Final = 120.0  # seconds; liveness of a loop that turns every ten


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
        # /harmony/livez has to say so from the first bind on, before the license is looked at.
        self._health.harmony_may_run = not self._signals.exit_told()
        self._tasks = RootTasks()
        self._server = Server(self._web_parts(), settings.bind, settings.state_dir)
        self._jobs: Jobs | None = None

    async def run(self) -> int:
        """The sidecar: until SIGTERM (0), the license's end (77), or a failure (1)."""
        started = asyncio.Event()
        self._health.on_started = started.set
        self._tasks.start("ready", self._let_harmony_start(started))
        return await self._live(done=None, limit=None)

    async def init(self, limit: float) -> int:
        """The first steps only: 0 done, 77 license refused, 1 not done within `limit` seconds."""
        done = asyncio.Event()
        self._health.on_started = done.set
        return await self._live(done, limit)

    async def _live(self, done: asyncio.Event | None, limit: float | None) -> int:
        check_directories(self._settings)
        lock = StateLock(self._settings.state_dir)
        sweep_directories(self._settings)
        try:
            with stop_on_signals() as stop:
                # The server first: a probe gets an answer before anything slow happens.
                await self._server.start()
                await asyncio.to_thread(_import_parts)
                self._start(stop, done)
                code = await self._serve(limit)
                await self._drain()
                return code
        finally:
            await self._server.stop()
            lock.release()

    def _start(self, stop: asyncio.Event, done: asyncio.Event | None) -> None:
        from harmony_agent.agent.jobs import Jobs  # noqa: PLC0415 - see _import_parts

        self._jobs = Jobs(self._settings, self._health, self._signals)
        if not self._health.started:
            self._signals.withdraw_ready()
        self._tasks.start("web", self._server.serve())
        self._tasks.start("stop", stop.wait())
        if done is not None:
            self._tasks.start("done", done.wait())
        self._tasks.start("secrets", self._watch_secrets())
        self._tasks.start("memory", keep_small())
        for name, job in self._jobs.all().items():
            self._tasks.start(name, job())

    async def _serve(self, limit: float | None) -> int:
        """Until a root task ends, which is asked to (`stop`, `done`) or fails; the exit code."""
        try:
            async with asyncio.timeout(limit):
                ended = await self._tasks.first_end()
        except TimeoutError:
            missing = ", ".join(c.name for c in self._health.startup() if c.level is Level.FAILED)
            log.error("giving up after %g s, not done: %s", limit, missing)
            return _FAILURE
        except AgentError as error:
            log.critical("%s", error)
            return _FAILURE
        except Exception:  # the last line of defense: whatever it is, drain and say so
            log.critical("a fault of the agent itself ends it", exc_info=True)
            return _FAILURE
        if ended in ("stop", "done"):
            return 0
        if self._jobs is not None and self._jobs.told_exit:
            return EXIT_CODE_LICENSE
        log.critical("the task %s ended, which it never should", ended)
        return _FAILURE

    async def _drain(self) -> None:
        """Mirror and stream Harmony's last seconds, push what is left, and end."""
        assert self._jobs is not None
        self._health.fail("draining", "the agent is ending")
        timeout = self._settings.drain_timeout
        deadline = Deadline(timeout)
        kept_back = timeout * _LAST_PUSH
        if not await harmony_gone(self._signals.harmony_runs, deadline.reserve(kept_back)):
            log.warning("Harmony still runs; the last push is made without waiting for its end")
        await self._jobs.flush(deadline)
        await self._tasks.stop(limit=_STOP_LIMIT)
        await self._jobs.close()
        log.info("drained", extra={"seconds": round(timeout - deadline.left(), 1)})

    async def _let_harmony_start(self, started: asyncio.Event) -> None:
        await started.wait()
        while True:
            try:
                self._signals.tell_ready()
                break
            except OSError as error:
                log.error("Harmony can't be told that it may start: %s", error)
                await asyncio.sleep(_READY_RETRY)
        log.info("started: Harmony may start")
        await asyncio.Event().wait()  # a root task that ends would stop all others

    async def _watch_secrets(self) -> None:
        self._health.register_loop("secrets", _SECRETS_LIMIT)
        await watch_secrets(
            self._environ,
            self._flags,
            self._settings.secrets_dir,
            self._rotate,
            beat=lambda: self._health.beat("secrets"),
        )

    async def _rotate(self, settings: Settings) -> None:
        self._settings = settings
        assert self._jobs is not None
        await self._jobs.rotate(settings)

    def _web_parts(self) -> Parts:
        return Parts(
            health=self._health,
            search=self._search,
            token=self._token,
            commands={
                "sync": self._sync,
                "conflicts/list": self._list_conflicts,
                "conflicts/show": self._show_conflict,
                "conflicts/restore": self._restore_conflict,
                "conflicts/remove": self._remove_conflict,
                **{f"dead-letters/{action}": self._dead_letters(action) for action in _LETTERS},
            },
            facts={"system": self._settings.system, "node": self._settings.host},
        )

    def _token(self) -> str | None:
        token = self._settings.api_token
        return token.get_secret_value() if token else None

    async def _search(self, params: Mapping[str, str]) -> Mapping[str, Any]:
        return await self._running_jobs().search(params)

    async def _sync(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._running_jobs().sync(
            dry_run=bool(arguments.get("dryRun")),
            accept_deletes=bool(arguments.get("acceptDeletes")),
        )

    async def _list_conflicts(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._running_jobs().conflict_desk().list()

    async def _show_conflict(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._running_jobs().conflict_desk().show(_which(arguments))

    async def _restore_conflict(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._running_jobs().conflict_desk().restore(_which(arguments))

    async def _remove_conflict(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._running_jobs().conflict_desk().remove(_which(arguments))

    def _dead_letters(self, action: str) -> Command:
        async def command(arguments: dict[str, Any]) -> Mapping[str, Any]:
            return await self._running_jobs().dead_letters(action, arguments)

        return command

    def _running_jobs(self) -> "Jobs":
        if self._jobs is None:
            raise Unavailable("the agent is starting; ask again in a moment", retry_after=1)
        return self._jobs


def _which(arguments: Mapping[str, Any]) -> str:
    """The version a command is about."""
    wanted = arguments.get("version")
    if not isinstance(wanted, str) or not wanted:
        raise BadRequest('name a version in the conflict store: {"version": "<key or path>"}')
    return wanted


def _import_parts() -> None:
    """Import what the jobs need: half a second of libraries, during which probes get answers."""
    import_module("harmony_agent.agent.jobs")
