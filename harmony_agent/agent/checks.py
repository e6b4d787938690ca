"""`harmony-agent check`: tests everything that is configured, for real."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from harmony_agent.agent.directories import check_directories
from harmony_agent.agent.fleet import survey
from harmony_agent.core.errors import AgentError
from harmony_agent.core.threads import Workers
from harmony_agent.license.classify import Refusal, Verified
from harmony_agent.license.identity import identify
from harmony_agent.license.mailroom import Mailroom
from harmony_agent.license.serial import admits, instance_serial, vlproxy_pattern
from harmony_agent.license.verifier import Verifier
from harmony_agent.license.verifier import connect as connect_services
from harmony_agent.lifecycle.health import Condition, Level
from harmony_agent.logs.systems.connect import connect as connect_log_system
from harmony_agent.repositories.connect import connect as connect_repository
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import prepare_configuration, prepare_runtime
from harmony_agent.repositories.proof import prove
from harmony_agent.settings import model
from harmony_agent.settings.report import Mistake, SettingsError

__all__ = ["run_checks"]

_LIMIT: Final = 60.0  # seconds for each check; the parts' own limits are shorter

Found = tuple[Level, str]
Check = Callable[[], Awaitable[Found]]
Prepare = Callable[[Repository], Awaitable[None]]


async def run_checks(
    settings: model.Settings, warnings: Sequence[Mistake]
) -> AsyncIterator[Condition]:
    """One finding after the other: what was tested, how it went, and what to do about it.

    No event is delivered, no mail sent and no ticket opened; files that are written are deleted
    again.
    """
    for warning in warnings:
        yield Condition("settings", Level.TROUBLE, str(warning))
    for name, check in _checks(settings).items():
        try:
            async with asyncio.timeout(_LIMIT):
                level, message = await check()
        except (AgentError, OSError) as error:  # TimeoutError is an OSError
            level, message = Level.FAILED, str(error) or f"no answer within {_LIMIT:g} s"
        yield Condition(name, level, message)


def _checks(settings: model.Settings) -> dict[str, Check]:
    checks: dict[str, Check] = {"directories": partial(_check_directories, settings)}
    config, runtime = settings.config_repository, settings.runtime_repository
    if config is not None:
        checks["configuration-repository"] = partial(
            _check_repository, settings, config, settings.system, prepare_configuration
        )
    if runtime is not None:
        checks["runtime-repository"] = partial(
            _check_repository,
            settings,
            runtime,
            f"{settings.system}/{settings.host}",
            prepare_runtime,
        )
    if settings.log_stream:
        checks["log-system"] = partial(_check_log_system, settings)
    if settings.license is not None:
        checks["license"] = partial(_check_license, settings, settings.license)
        checks["serials"] = partial(_check_serials, settings, settings.license)
        checks["ticket-service"] = partial(_check_ticket_service, settings, settings.license)
        checks["mail"] = partial(_check_mail, settings)
    return checks


async def _check_directories(settings: model.Settings) -> Found:
    try:
        check_directories(settings)
    except SettingsError as error:
        return Level.FAILED, "; ".join(map(str, error.mistakes))
    return Level.OK, "home, state and signal directory can be written"


async def _check_repository(
    settings: model.Settings, repository: model.Repository, folder: str, prepare: Prepare
) -> Found:
    connector = connect_repository(repository, folder, ca_bundle=settings.ca_bundle)
    try:
        await connector.open()
        await prepare(connector)
        proof = await prove(connector)
    finally:
        await connector.close()
    if proof.conditional_writes:
        return Level.OK, f"{connector.location}: write, read, list, delete, conditional writes work"
    return Level.TROUBLE, (
        f"{connector.location} works, but ignores conditional writes: two nodes that change one "
        "file at the same moment can overwrite each other"
    )


async def _check_log_system(settings: model.Settings) -> Found:
    system = connect_log_system(
        settings.log_system,
        node=settings.host,
        state_dir=settings.state_dir,
        ca_bundle=settings.ca_bundle,
        system=settings.system,
    )
    try:
        return Level.OK, await system.probe()
    finally:
        await system.close()


async def _check_license(settings: model.Settings, license_: model.LicenseSettings) -> Found:
    verifier = Verifier(
        license_,
        identify(license_),
        connect_services(license_, settings.ca_bundle),
        system=settings.system,
        host=settings.host,
        wall=time.time,
    )
    meaning = (await verifier.attempt()).meaning
    if isinstance(meaning, Verified):
        told = f"; its serial is {meaning.serial}" if meaning.serial else ""
        return Level.OK, f"verified by {license_.url}{told}"
    if isinstance(meaning, Refusal):
        return Level.FAILED, meaning.cause
    return Level.FAILED, f"{meaning.cause}; a new Harmony would start with its grace period"


async def _check_serials(settings: model.Settings, license_: model.LicenseSettings) -> Found:
    """Whether VLProxy would admit every instance that the repositories know of."""
    fleet = await survey(settings)
    serial = license_.serial or fleet.serial
    if serial is None:
        return Level.TROUBLE, (
            "the serial is not known yet, so neither is VLProxy's pattern: set HARMONY_AGENT_SERIAL"
        )
    pattern = vlproxy_pattern(serial)
    instances = [instance_serial(serial, host) for host in fleet.hosts]
    outside = [instance for instance in instances if not admits(pattern, instance)]
    if outside:
        return Level.FAILED, f"VLProxy's pattern {pattern} does not admit {', '.join(outside)}"
    if fleet.unseen:
        return Level.TROUBLE, f"not all instances are known: {'; '.join(fleet.unseen)}"
    return Level.OK, f"VLProxy's pattern {pattern} admits {', '.join(instances)}"


async def _check_ticket_service(settings: model.Settings, license_: model.LicenseSettings) -> Found:
    witness = await connect_services(license_, settings.ca_bundle).tickets.witness()
    if witness.answers:
        return Level.OK, f"{license_.ticket_url} answers"
    return Level.TROUBLE, (
        f"{license_.ticket_url} does not answer over verified TLS: without it an outage at Cleo "
        "can't be told from one of the network, and no ticket is opened"
    )


async def _check_mail(settings: model.Settings) -> Found:
    workers = Workers("check-mail", 1)
    try:
        mailroom = Mailroom(settings.mail, settings.ca_bundle, workers)
        if mailroom.missing:
            return Level.TROUBLE, mailroom.missing
        await mailroom.greet()
    finally:
        workers.close()
    return Level.OK, "the mail server is reached and takes our login"
