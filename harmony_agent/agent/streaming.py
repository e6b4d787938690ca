"""The log stream, wired to the log system that the settings name and to the runtime repository."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from harmony_agent.agent import dead_letters
from harmony_agent.agent.adoption import Adoption, announce
from harmony_agent.agent.storage import Storage
from harmony_agent.core.errors import AgentError
from harmony_agent.lifecycle.drain import Deadline
from harmony_agent.lifecycle.health import Health
from harmony_agent.logs.params import envelope, parse
from harmony_agent.logs.pipeline.segments import ParkedFolder
from harmony_agent.logs.stream import LogStream
from harmony_agent.logs.systems.connect import connect
from harmony_agent.logs.systems.interface import LogSystem
from harmony_agent.logs.systems.local import LocalStore
from harmony_agent.repositories.layout import PARKED
from harmony_agent.settings.model import Settings

__all__ = ["Streaming"]

log = logging.getLogger(__name__)

_PRUNE_INTERVAL: Final = 3600.0  # seconds
# Of the time that is left, for parking what can't be delivered; more if that is known already.
_PARKING_SHARE: Final = 0.3
_DOWN_SHARE: Final = 0.7


class Streaming:
    """Builds the log stream, exchanges its log system when the settings change, and gives it a
    place to park what can't be delivered.

    `storage` has that place once this node may write there; only what is parked waits for it,
    never the stream itself. None: there is no runtime mirror, nothing is parked.
    """

    def __init__(
        self,
        settings: Settings,
        health: Health,
        *,
        serial: Callable[[], str | None],
        storage: Storage | None,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._system = _connect(settings)
        self._stream = LogStream(
            home=settings.home,
            system=settings.system,
            node=settings.host,
            serial=serial,
            state_dir=settings.state_dir,
            log_system=self._system,
            health=health,
            time_zone=settings.time_zone,
        )

    async def run(self) -> None:
        """The root task: stream for ever."""
        await self._stream.run()

    async def park(self) -> None:
        """A root task: park in an outage; deliver what an earlier agent of this node parked."""
        assert self._storage is not None
        folder = await self._folder(self._storage)
        await self._stream.park(folder, announce(self._storage, self._settings.host))

    async def adopt(self) -> None:
        """A root task: deliver what nodes parked that do not come back."""
        assert self._storage is not None
        adoption = Adoption(
            self._storage,
            self._stream,
            node=self._settings.host,
            after=self._settings.parked_adoption,
        )
        await adoption.run()

    async def prune(self) -> None:
        """A root task: keep the local store, if it is the one in use, within its bounds."""
        while True:
            if isinstance(self._system, LocalStore):
                try:
                    await self._system.prune()
                except AgentError as error:
                    log.warning("the local log store can't be pruned: %s", error)
            await asyncio.sleep(_PRUNE_INTERVAL)

    async def search(self, params: Mapping[str, str]) -> Mapping[str, Any]:
        """Answer the parameters of `GET /api/logs`; raises what LogStream.search raises."""
        query = parse(params)
        return envelope(query, await self._stream.search(query))

    async def dead_letters(self, action: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what `harmony-agent dead-letters` asks for; as dead_letters.answer."""
        return await dead_letters.answer(self._stream, action, arguments)

    async def rotate(self, settings: Settings) -> None:
        """Use another log system, or the same with other credentials, from now on."""
        before, self._settings = self._settings, settings
        if settings.log_system == before.log_system:
            return
        try:
            self._system = _connect(settings)
        except AgentError as error:
            log.error("the new settings of the log system are not used: %s", error)
            return
        await self._stream.rotate(self._system)
        log.info("the log system uses the new settings")

    async def drain(self, deadline: Deadline) -> None:
        """Deliver what is in the log by now, park what can't be, as far as `deadline` allows."""
        share = _PARKING_SHARE if self._stream.delivers else _DOWN_SHARE
        left = await self._stream.drain(deadline.left() * (1 - share))
        if left is not None or self._stream.parked:
            await self._park_rest(deadline, rest=left is not None)
        if left is not None:
            parked = self._stream.parked
            log.warning(
                "the log is not delivered to its end", extra={"events": left, "parked": parked}
            )

    async def _park_rest(self, deadline: Deadline, *, rest: bool) -> None:
        if self._storage is None:
            return
        try:
            async with asyncio.timeout(deadline.left()):
                folder = await self._folder(self._storage)
                tell = announce(self._storage, self._settings.host)
                await self._stream.park_rest(folder, tell, rest=rest)
        except (AgentError, OSError) as error:  # time-outs as well
            log.error("undelivered events can't be parked: %s", error or "out of time")

    async def _folder(self, storage: Storage) -> ParkedFolder:
        return ParkedFolder(await storage.own_runtime(), PARKED, storage.may_write_runtime)

    async def close(self) -> None:
        """Give back files, threads and connections."""
        await self._stream.close()


def _connect(settings: Settings) -> LogSystem:
    return connect(
        settings.log_system,
        node=settings.host,
        state_dir=settings.state_dir,
        ca_bundle=settings.ca_bundle,
        system=settings.system,
    )
