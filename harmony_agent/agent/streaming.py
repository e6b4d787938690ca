"""The log stream, wired to the log system that the settings name."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from harmony_agent.core.errors import AgentError
from harmony_agent.lifecycle.drain import Deadline
from harmony_agent.lifecycle.health import Health
from harmony_agent.logs.params import envelope, parse
from harmony_agent.logs.stream import LogStream
from harmony_agent.logs.systems.connect import connect
from harmony_agent.logs.systems.interface import LogSystem
from harmony_agent.settings.model import Settings

__all__ = ["Streaming"]

log = logging.getLogger(__name__)


class Streaming:
    """Builds the log stream, and exchanges its log system when the settings change."""

    def __init__(
        self, settings: Settings, health: Health, *, serial: Callable[[], str | None]
    ) -> None:
        self._settings = settings
        self._stream = LogStream(
            home=settings.home,
            system=settings.system,
            node=settings.host,
            serial=serial(),
            state_dir=settings.state_dir,
            log_system=_connect(settings),
            health=health,
            time_zone=settings.time_zone,
        )

    async def run(self) -> None:
        """The root task."""
        await self._stream.run()

    async def search(self, params: Mapping[str, str]) -> Mapping[str, Any]:
        """Answer the parameters of `GET /api/logs`; raises what LogStream.search raises."""
        query = parse(params)
        return envelope(query, await self._stream.search(query))

    async def rotate(self, settings: Settings) -> None:
        """Use another log system, or the same with other credentials, from now on."""
        before, self._settings = self._settings, settings
        if settings.log_system == before.log_system:
            return
        try:
            system = _connect(settings)
        except AgentError as error:
            log.error("the new settings of the log system are not used: %s", error)
            return
        await self._stream.rotate(system)
        log.info("the log system uses the new settings")

    async def drain(self, deadline: Deadline) -> None:
        """Deliver what is in the log by now, as far as `deadline` allows."""
        left = await self._stream.drain(deadline.left())
        if left:
            log.warning(
                "log events are left undelivered; they are delivered after the next start",
                extra={"events": left},
            )

    async def close(self) -> None:
        """Give back files, threads and connections."""
        await self._stream.close()


def _connect(settings: Settings) -> LogSystem:
    return connect(
        settings.log_system,
        node=settings.host,
        state_dir=settings.state_dir,
        ca_bundle=settings.ca_bundle,
    )
