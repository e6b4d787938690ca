"""The repositories that are open, and the rotation of what they are opened with."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Final, Literal

from harmony_agent.agent.opening import Prepare, open_repository
from harmony_agent.agent.renewal import Renewal, Tenant
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings import model

__all__ = ["CONFIGURATION", "RUNTIME", "Connections", "Name"]

Name = Literal["configuration", "runtime"]

CONFIGURATION: Final = "configuration"
RUNTIME: Final = "runtime"


class Connections:
    """This node's folder, or the system's, in each of the two repositories."""

    def __init__(self, settings: model.Settings, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._handles: dict[Name, Handle] = {}
        self._renewals: dict[Name, Renewal] = {}

    def get(self, name: Name) -> Repository | None:
        """A repository that is open; None until then."""
        return self._handles.get(name)

    async def open(self, name: Name, prepare: Prepare, tenant: Tenant) -> Handle:
        """Open a repository and `prepare` it for `tenant`, who is told when rotated settings lead
        elsewhere; tries for ever."""
        used = self._of(name)

        def connector() -> Repository:
            nonlocal used
            used = self._of(name)
            return self._connector(name, used)

        handle = await open_repository(name, connector, prepare, self._health)
        self._handles[name] = handle
        renewal = Renewal(
            name,
            handle,
            used,
            connector=partial(self._connector, name),
            prepare=prepare,
            tenant=tenant,
            health=self._health,
        )
        self._renewals[name] = renewal
        renewal.want(self._of(name))  # rotated while it was being opened
        return handle

    @contextlib.asynccontextmanager
    async def visit(self, node: str | None) -> AsyncIterator[Repository]:
        """The folder of another node in the runtime repository, or the system's own (None), open
        as long as the block runs. Raises what opening it raises.

        It is where this node's own folder is: rotated settings count once they are in use.
        """
        system = self._settings.system
        folder = system if node is None else f"{system}/{node}"
        renewal = self._renewals.get(RUNTIME)
        used = self._of(RUNTIME) if renewal is None else renewal.used
        repository = connect(used, folder, ca_bundle=self._settings.ca_bundle)
        try:
            await repository.open()
            yield repository
        finally:
            await repository.close()

    def rotate(self, settings: model.Settings) -> None:
        """Use new settings from now on. Until a connection that was made with them is proven, the
        old ones stay in use; a repository that is not open yet is tried with the new ones anyway.
        """
        self._settings = settings
        for name, renewal in self._renewals.items():
            renewal.want(self._of(name))

    async def settle(self) -> None:
        """Rotate no more: what is in use stays so."""
        for renewal in self._renewals.values():
            await renewal.close()

    async def close(self) -> None:
        """Give back all connections and threads."""
        await self.settle()
        for handle in self._handles.values():
            await handle.close()

    def _connector(self, name: Name, settings: model.Repository) -> Repository:
        system, host = self._settings.system, self._settings.host
        folder = system if name == CONFIGURATION else f"{system}/{host}"
        return connect(settings, folder, ca_bundle=self._settings.ca_bundle)

    def _of(self, name: Name) -> model.Repository:
        found = (
            self._settings.config_repository
            if name == CONFIGURATION
            else self._settings.runtime_repository
        )
        assert found is not None, "settings demand a repository for every job that is on"
        return found
