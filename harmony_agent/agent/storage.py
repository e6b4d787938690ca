"""The two repositories' root tasks: open, take the lease, pull once, then keep in step."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from harmony_agent.agent.connections import CONFIGURATION, RUNTIME, Connections
from harmony_agent.agent.gate import Gate
from harmony_agent.agent.home import Home
from harmony_agent.agent.tenants import ConfigurationTenant, RuntimeTenant
from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.lifecycle.drain import Deadline
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.identity import own_identity
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import prepare_configuration, prepare_runtime
from harmony_agent.repositories.lease import Lease
from harmony_agent.settings import model
from harmony_agent.sync.configuration import ConfigurationSync
from harmony_agent.sync.conflicts.desk import ConflictDesk
from harmony_agent.sync.job import SyncJob
from harmony_agent.sync.runtime import RuntimeMirror

__all__ = ["Job", "Storage"]

log = logging.getLogger(__name__)

Job = Callable[[], Coroutine[Any, Any, None]]

_IDENTITY_CEILING: Final = 30.0  # seconds between attempts
_FLUSH_RESERVE: Final = 3.0  # seconds of the deadline for the push itself


class Storage:
    """Both repositories, and the jobs that keep Harmony's home in step with them."""

    def __init__(
        self, settings: model.Settings, health: Health, harmony_runs: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._health = health
        self._harmony_runs = harmony_runs
        self._home = Home(settings.home, settings.state_dir)
        self._connections = Connections(settings, health)
        self._configuration = ConfigurationTenant()
        self._runtime = RuntimeTenant()
        self.identity = ""
        """Under which this agent takes leases; known once `own_runtime` returns."""
        self._known = self._home.was_pulled()
        if self._known:
            # Steps 3 to 5 gate only the first start of a home: Harmony may be running already.
            for step in ("repositories", "first-pull"):
                health.pass_step(step, "restarted beside a known home")
        jobs = self.jobs()
        self._ready = {name: asyncio.Event() for name in jobs}
        remember = (lambda: None) if self._known else self._remember_pull
        self._opened = Gate(health, "repositories", jobs)
        self._pulled = Gate(health, "first-pull", jobs, remember)

    def jobs(self) -> dict[str, Job]:
        """The root tasks by name, for what is switched on."""
        jobs: dict[str, Job] = {}
        # The license keeps its records in the configuration repository, synchronized or not.
        if self._settings.config_repository is not None:
            jobs[CONFIGURATION] = self._keep_configuration
        if self._settings.runtime_mirror:
            jobs[RUNTIME] = self._mirror_runtime
        return jobs

    @property
    def configuration_repository(self) -> Repository | None:
        """The opened configuration repository, None until it is open."""
        return self._connections.get(CONFIGURATION)

    async def own_runtime(self) -> Repository:
        """The runtime repository, as soon as this node's folder there is ours to write."""
        await self._ready[RUNTIME].wait()
        repository = self._connections.get(RUNTIME)
        assert repository is not None, "it is open before this node's folder is ours"
        return repository

    def may_write_runtime(self) -> bool:
        """Whether this node's folder in the runtime repository is ours at this moment."""
        return self._runtime.lease is not None and self._runtime.lease.may_write()

    def visit(self, node: str | None) -> AbstractAsyncContextManager[Repository]:
        """As Connections.visit."""
        return self._connections.visit(node)

    def rotate(self, settings: model.Settings) -> None:
        """As Connections.rotate."""
        self._settings = settings
        self._connections.rotate(settings)

    async def sync_once(self, *, dry_run: bool, accept_deletes: bool) -> Mapping[str, Any]:
        """One pass of both jobs now; what was done, or would be. Raises Unavailable if a
        repository is not open yet."""
        report: dict[str, Any] = {}
        for name, part in self._parts().items():
            report[name] = await part.once(dry_run=dry_run, accept_deletes=accept_deletes)
        if not report:
            raise Unavailable("no repository is open yet; harmony-agent status tells why")
        return report

    def conflict_desk(self) -> ConflictDesk:
        """What commands about the conflict store ask. Raises Refused without configuration sync,
        Unavailable while the repository is not open yet."""
        if not self._settings.config_sync:
            raise Refused("configuration sync is switched off by HARMONY_AGENT_CONFIG_SYNC")
        if self._configuration.job is None:
            raise Unavailable(
                "the configuration repository is not open yet; harmony-agent status tells why"
            )
        return self._configuration.job.desk

    async def flush(self, deadline: Deadline) -> None:
        """The last push, as far as `deadline` allows.

        Beside a known home it waits for repositories that are not open yet: there may be
        something in it that was never pushed.
        """
        if self._known:
            waits = [event.wait() for event in self._ready.values()]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(deadline.reserve(_FLUSH_RESERVE)):
                    await asyncio.gather(*waits)
        await asyncio.gather(*(part.flush(deadline.left()) for part in self._parts().values()))

    async def close(self) -> None:
        """Give back the lease, then all connections and threads. After the tasks have ended."""
        await self._connections.settle()  # the lease is given back where it is held
        if self._runtime.lease is not None:
            await self._runtime.lease.release()
        for part in self._parts().values():
            await part.close()
        await self._connections.close()

    def _parts(self) -> dict[str, SyncJob]:
        """What keeps home in step, by name, as far as it has begun."""
        parts = {CONFIGURATION: self._configuration.job, RUNTIME: self._runtime.mirror}
        return {name: part for name, part in parts.items() if part is not None}

    async def _keep_configuration(self) -> None:
        repository = await self._connections.open(
            CONFIGURATION, prepare_configuration, self._configuration
        )
        self._opened.pass_by(CONFIGURATION)
        if not self._settings.config_sync:
            self._pulled.pass_by(CONFIGURATION)
            self._ready[CONFIGURATION].set()
            await asyncio.Event().wait()  # the license uses the repository; nothing to do here
        self._configuration.job = sync = ConfigurationSync(
            home=self._settings.home,
            state_dir=self._settings.state_dir,
            repository=repository,
            host=self._settings.host,
            settings=self._settings.sync,
            health=self._health,
            harmony_runs=self._harmony_runs,
        )
        await sync.take_on()
        self._pulled.pass_by(CONFIGURATION)
        self._ready[CONFIGURATION].set()
        await sync.run()

    async def _mirror_runtime(self) -> None:
        repository = await self._connections.open(RUNTIME, prepare_runtime, self._runtime)
        # Who else takes this lease goes by the same node name: the pod's own tells them apart.
        holder = f"{self._settings.host} on {socket.gethostname()}"
        self.identity = await self._own_identity()
        self._runtime.lease = lease = Lease(
            repository, self.identity, holder, trusting=lambda: repository.conditional_writes
        )
        self._health.sections["lease"] = lease.status
        tasks = [
            asyncio.create_task(self._runtime.settle(), name="moves"),
            asyncio.create_task(self._mirror(repository, lease), name="mirror"),
            asyncio.create_task(lease.run(self._health), name="lease"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _own_identity(self) -> str:
        """This agent's identity; a state directory that is full is waited for."""
        backoff = Backoff(first=1.0, ceiling=_IDENTITY_CEILING)
        while True:
            try:
                return own_identity(self._settings.state_dir)
            except Refused as error:
                self._health.trouble("lease", str(error))
                log.warning("%s", error)
                await asyncio.sleep(backoff.next())

    def _remember_pull(self) -> None:
        try:
            self._home.mark_pulled()
        except OSError as error:
            log.warning(
                "that the first pull is done can't be remembered (%s): the next start pulls again",
                error.strerror,
            )

    async def _mirror(self, repository: Repository, lease: Lease) -> None:
        await lease.owned()
        self._opened.pass_by(RUNTIME)
        self._runtime.mirror = mirror = RuntimeMirror(
            home=self._settings.home,
            state_dir=self._settings.state_dir,
            repository=repository,
            settings=self._settings.sync,
            health=self._health,
            harmony_runs=self._harmony_runs,
            may_write=lease.may_write,
        )
        await mirror.take_on()
        self._pulled.pass_by(RUNTIME)
        self._ready[RUNTIME].set()
        await mirror.run()
