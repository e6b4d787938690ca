"""The jobs that are switched on, built and wired to each other."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from harmony_agent.agent.storage import Job, Storage
from harmony_agent.agent.streaming import Streaming
from harmony_agent.core.errors import Refused
from harmony_agent.license.loop import LicenseLoop, LicenseOver
from harmony_agent.lifecycle.drain import Deadline
from harmony_agent.lifecycle.exit import announce_exit, withdraw_exit
from harmony_agent.lifecycle.health import Health
from harmony_agent.lifecycle.signals import ExitSignal, SignalDirectory
from harmony_agent.settings.model import Settings
from harmony_agent.sync.conflicts.desk import ConflictDesk

__all__ = ["Jobs"]

log = logging.getLogger(__name__)

_EXIT_ATTEMPTS: Final = 10
_EXIT_RETRY: Final = 1.0  # seconds


class Jobs:
    """Storage, log stream and license of one agent."""

    def __init__(self, settings: Settings, health: Health, signals: SignalDirectory) -> None:
        self._settings = settings
        self._health = health
        self._signals = signals
        self.told_exit = False
        """Whether Harmony was told to end: the agent ends with 77."""
        self._storage = Storage(settings, health, signals.harmony_runs)
        self._license = self._build_license()
        self._streaming = (
            Streaming(
                settings,
                health,
                serial=self._serial,
                storage=self._storage if settings.runtime_mirror else None,
            )
            if settings.log_stream
            else None
        )

    def all(self) -> dict[str, Job]:
        """The root tasks by name."""
        jobs = self._storage.jobs()
        if self._streaming is not None:
            jobs["logs"] = self._streaming.run
            jobs["log-retention"] = self._streaming.prune
            if self._settings.runtime_mirror:
                jobs["parked-events"] = self._streaming.park
                jobs["adoption"] = self._streaming.adopt
        if self._license is not None:
            jobs["license"] = self._verify_license
        return jobs

    async def search(self, params: Mapping[str, str]) -> Mapping[str, Any]:
        """What `GET /api/logs` answers."""
        return await self._log_stream().search(params)

    async def dead_letters(self, action: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """What `harmony-agent dead-letters` does; as dead_letters.answer."""
        return await self._log_stream().dead_letters(action, arguments)

    async def sync(self, *, dry_run: bool, accept_deletes: bool) -> Mapping[str, Any]:
        """What `harmony-agent sync --once` prints."""
        return await self._storage.sync_once(dry_run=dry_run, accept_deletes=accept_deletes)

    def conflict_desk(self) -> ConflictDesk:
        """What `harmony-agent conflicts` asks; raises as Storage.conflict_desk."""
        return self._storage.conflict_desk()

    async def rotate(self, settings: Settings) -> None:
        """Use rotated secrets from now on."""
        self._storage.rotate(settings)
        if self._streaming is not None:
            await self._streaming.rotate(settings)
        if self._license is not None and settings.license is not None:
            self._license.rotate(settings.license, settings.mail)

    async def flush(self, deadline: Deadline) -> None:
        """The last push of everything, as far as `deadline` allows; one that fails does not keep
        the others from it."""
        flushes = [self._storage.flush(deadline)]
        if self._streaming is not None:
            flushes.append(self._streaming.drain(deadline))
        for outcome in await asyncio.gather(*flushes, return_exceptions=True):
            if isinstance(outcome, BaseException):
                log.error("not everything could be pushed: %s", outcome)

    async def close(self) -> None:
        """Give back the lease, connections and threads."""
        await self._storage.close()
        if self._streaming is not None:
            await self._streaming.close()

    def _build_license(self) -> LicenseLoop | None:
        if self._settings.license is None:
            self._health.pass_step("license", "switched off")
            withdraw_exit(self._health, self._signals)
            return None
        return LicenseLoop(
            self._settings.license,
            self._settings.mail,
            system=self._settings.system,
            host=self._settings.host,
            state_dir=self._settings.state_dir,
            ca_bundle=self._settings.ca_bundle,
            health=self._health,
            repository=(
                (lambda: self._storage.configuration_repository)
                if self._settings.config_repository is not None
                else None
            ),
            on_exit=self._end_harmony,
            on_clear=lambda: withdraw_exit(self._health, self._signals),
        )

    def _log_stream(self) -> Streaming:
        if self._streaming is None:
            raise Refused("the log stream is switched off by HARMONY_AGENT_LOG_STREAM")
        return self._streaming

    def _serial(self) -> str | None:
        return self._license.serial if self._license is not None else None

    async def _verify_license(self) -> None:
        assert self._license is not None
        try:
            await self._license.run()
        except LicenseOver:
            self.told_exit = True

    async def _end_harmony(self, signal: ExitSignal) -> None:
        pattern = self._settings.signal_process
        for _ in range(_EXIT_ATTEMPTS):
            if announce_exit(signal, self._health, self._signals, pattern):
                return
            await asyncio.sleep(_EXIT_RETRY)  # a full volume may get room, a lost one come back
