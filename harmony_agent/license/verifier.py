"""One attempt to verify: asks the license service, and the ticket service where a second witness
is needed, and says what it means."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harmony_agent import __version__
from harmony_agent.license.classify import (
    NOBODY,
    Answer,
    Meaning,
    Question,
    classify,
    needs_witness,
)
from harmony_agent.license.client import (
    Exchange,
    TicketClient,
    VerificationClient,
    VerificationRequest,
)
from harmony_agent.license.identity import LicenseIdentity
from harmony_agent.license.serial import instance_serial
from harmony_agent.settings.model import LicenseSettings

__all__ = ["Attempt", "Services", "Verifier", "connect"]


@dataclass(frozen=True, slots=True)
class Services:
    """The two services at Cleo."""

    verification: VerificationClient
    tickets: TicketClient


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an attempt means, and the time of a Date header that came over verified TLS."""

    meaning: Meaning
    date: float | None


def connect(settings: LicenseSettings, ca_bundle: Path | None) -> Services:
    """The clients of the configured services; nothing is sent yet."""
    return Services(
        VerificationClient(Exchange(settings.url, ca_bundle)),
        TicketClient(Exchange(settings.ticket_url, ca_bundle)),
    )


class Verifier:
    """Verifies one license for one node. `wall` is the clock that TLS judges certificates by."""

    def __init__(
        self,
        settings: LicenseSettings,
        identity: LicenseIdentity,
        services: Services,
        *,
        system: str,
        host: str,
        wall: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._services = services
        self._system = system
        self._host = host
        self._wall = wall

    async def attempt(self) -> Attempt:
        """One attempt, within the clients' time limits; raises nothing but cancellation."""
        serial = self._settings.serial
        request = VerificationRequest(
            serial=serial,
            instance=instance_serial(serial, self._host) if serial is not None else None,
            verificationCode=self._settings.verification_code.get_secret_value(),
            licenseSha256=self._identity.file_sha256,
            system=self._system,
            host=self._host,
            agentVersion=__version__,
            requestId=str(uuid.uuid4()),
        )
        happening = await self._services.verification.verify(request)
        witness = NOBODY
        if needs_witness(happening):
            witness = await self._services.tickets.witness()
        question = Question(serial, request.requestId)
        meaning = classify(question, happening, witness, self._wall())
        date = happening.date if isinstance(happening, Answer) else witness.date
        return Attempt(meaning, date)
