"""Everything that belongs to one license: who it is, what is known of it, how it is verified."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from harmony_agent.core.threads import Workers
from harmony_agent.license.clock import Clock, Timekeeper
from harmony_agent.license.courier import Done
from harmony_agent.license.identity import identify
from harmony_agent.license.keeper import RecordKeeper
from harmony_agent.license.ledger import Ledger
from harmony_agent.license.machine import Policy, Standing
from harmony_agent.license.verifier import Services, Verifier
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings.model import LicenseSettings

__all__ = ["Place", "Session", "take_up"]


@dataclass(frozen=True, slots=True)
class Place:
    """What stays the same whatever the license: this node, and where things are kept."""

    system: str
    host: str
    state_dir: Path
    ca_bundle: Path | None
    repository: Callable[[], Repository | None] | None
    clock: Clock
    worker: Workers
    services: Callable[[LicenseSettings, Path | None], Services]


@dataclass(frozen=True, slots=True)
class Session:
    """One license in use since `started` (BOOTTIME); `recalled` is the standing that an earlier
    process left, its state not judged yet, `history` its mails and tickets."""

    settings: LicenseSettings
    license_id: str
    policy: Policy
    keeper: RecordKeeper
    ledger: Ledger
    services: Services
    verifier: Verifier
    timekeeper: Timekeeper
    started: float
    recalled: Standing
    history: tuple[Done, ...] = ()


async def take_up(settings: LicenseSettings, place: Place) -> Session:
    """Take up what is known of this license."""
    identity = identify(settings)
    keeper = RecordKeeper(identity, place.state_dir, place.worker)
    record, memory = await keeper.recall(place.clock.wall())
    timekeeper = Timekeeper(place.clock, memory.moment if memory else None)
    recalled = Standing(record)
    if memory is not None:
        recalled = replace(
            recalled,
            counts=memory.counts,
            meter=memory.meter,
            mailed=frozenset(memory.mailed),
        )
        # From here on this boot measures, whatever is done to the wall clock before the first
        # attempt is over.
        await keeper.remember(replace(memory, moment=timekeeper.moment()))
    services = place.services(settings, place.ca_bundle)
    return Session(
        settings=settings,
        license_id=identity.id,
        policy=Policy(settings.grace_period, settings.verify_interval, settings.verify_retry),
        keeper=keeper,
        ledger=Ledger(keeper, place.repository, recalled=memory is not None),
        services=services,
        verifier=Verifier(
            settings,
            identity,
            services,
            system=place.system,
            host=place.host,
            wall=place.clock.wall,
        ),
        timekeeper=timekeeper,
        started=place.clock.boottime(),
        recalled=recalled,
        history=memory.history if memory is not None else (),
    )
