"""Which nodes a system has, as far as its repositories tell."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from harmony_agent.core.errors import AgentError
from harmony_agent.core.threads import Workers
from harmony_agent.license.identity import identify
from harmony_agent.license.keeper import RecordKeeper
from harmony_agent.license.record import EMPTY
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import LEASE, MARKERS
from harmony_agent.settings import model

__all__ = ["Fleet", "survey"]

_LIMIT: Final = 20.0  # seconds for each repository; a runtime root may hold many files


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts that are known, in order, the serial that the license record holds, and what could
    not be looked at."""

    hosts: tuple[str, ...]
    serial: str | None
    unseen: tuple[str, ...]


async def survey(settings: model.Settings) -> Fleet:
    """Look into both repositories; this node itself is always part of the fleet."""
    hosts, serial, unseen = {settings.host}, None, []
    for repository, look in (
        (settings.config_repository, _look_at_configuration),
        (settings.runtime_repository, _look_at_runtime),
    ):
        if repository is None:
            continue
        connector = connect(repository, settings.system, ca_bundle=settings.ca_bundle)
        try:
            async with asyncio.timeout(_LIMIT):
                await connector.open()
                found, answered = await look(connector, settings)
        except (AgentError, TimeoutError) as error:
            unseen.append(f"{connector.location}: {error or f'no answer within {_LIMIT:g} s'}")
        else:
            hosts |= found
            serial = serial or answered
        finally:
            await connector.close()
    return Fleet(tuple(sorted(hosts)), serial, tuple(unseen))


async def _look_at_configuration(
    repository: Repository, settings: model.Settings
) -> tuple[set[str], str | None]:
    """Nodes that left a marker or stand in the license record."""
    markers = await repository.list(MARKERS)
    hosts = {entry.path.removeprefix(f"{MARKERS}/") for entry in markers}
    if settings.license is None:
        return hosts, None
    workers = Workers("check-license", 1)
    try:
        keeper = RecordKeeper(identify(settings.license), settings.state_dir, workers)
        record = (await keeper.fetch(repository, EMPTY, time.time())).record
    finally:
        workers.close()
    named = (record.success, record.rejection, *record.outages)
    serial = record.success.serial if record.success is not None else None
    return hosts | {each.node for each in named if each is not None}, serial


async def _look_at_runtime(
    repository: Repository, _: model.Settings
) -> tuple[set[str], str | None]:
    """Nodes that have held the lease of a folder."""
    leases = [e.path for e in await repository.list() if e.path.endswith(f"/{LEASE}")]
    return {path.removesuffix(f"/{LEASE}") for path in leases}, None
