"""The license's root task: verifies, keeps to the timetable, and does what follows."""

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import AgentError
from harmony_agent.core.redaction import redact
from harmony_agent.core.threads import Workers
from harmony_agent.license import machine, reporting
from harmony_agent.license.claims import Claims
from harmony_agent.license.classify import Fault, Meaning, Refusal, Unreached, Verified
from harmony_agent.license.client import TicketRequest
from harmony_agent.license.clock import Clock, SystemClock
from harmony_agent.license.courier import Courier
from harmony_agent.license.keeper import Memory
from harmony_agent.license.machine import (
    Effect,
    History,
    LetRun,
    OpenTicket,
    SendMail,
    Standing,
    State,
    Step,
    Stop,
    Surroundings,
)
from harmony_agent.license.mail import Facts
from harmony_agent.license.mailroom import Mailroom
from harmony_agent.license.record import Outage, Record
from harmony_agent.license.session import Place, Session, take_up
from harmony_agent.license.verifier import Services, connect
from harmony_agent.lifecycle.health import Health
from harmony_agent.lifecycle.signals import ExitSignal
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings.model import LicenseSettings, MailSettings

__all__ = ["LicenseLoop", "LicenseOver"]

log = logging.getLogger(__name__)

_LONGEST_SLEEP: Final = 300.0  # BOOTTIME runs on in suspend, the event loop's clock does not
_SHORTEST_SLEEP: Final = 0.05
_HELD_RETRY: Final = 5.0  # between looks at a repository that a judgement waits for
_START_PATIENCE: Final = 30.0  # a pod's network may come up after its containers
_LAST_MINUTE: Final = 60.0  # before the end of the grace there is one more attempt
_FLUSH_LIMIT: Final = 10.0  # for the last mail, while Harmony ends
_HOUSEKEEPING: Final = 86400.0  # between purges of bygone outages' claims
_HOUSEKEEPING_LIMIT: Final = 120.0  # for one purge
_STALLED: Final = 1200.0  # liveness: the longest sleep and twice the longest turn


class LicenseOver(AgentError):
    """The license is refused or its grace is over: the agent ends with `signal.code`."""

    def __init__(self, signal: ExitSignal) -> None:
        super().__init__(signal.message)
        self.signal = signal


class LicenseLoop:
    """Keeps one node's license verified.

    `repository` gives the configuration repository once it is open, None before: the loop never
    waits for it; `repository` itself is None where none is configured. `on_exit` tells Harmony to
    end and is awaited, `on_clear` takes that back; both see to /harmony/livez. `services` replaces
    Cleo's.
    """

    def __init__(
        self,
        settings: LicenseSettings,
        mail: MailSettings,
        *,
        system: str,
        host: str,
        state_dir: Path,
        ca_bundle: Path | None,
        health: Health,
        repository: Callable[[], Repository | None] | None,
        on_exit: Callable[[ExitSignal], Awaitable[None]],
        on_clear: Callable[[], None],
        clock: Clock | None = None,
        services: Callable[[LicenseSettings, Path | None], Services] = connect,
    ) -> None:
        self._place = Place(
            system=system,
            host=host,
            state_dir=state_dir,
            ca_bundle=ca_bundle,
            repository=repository,
            clock=clock or SystemClock(),
            worker=Workers("license-state", 1),
            services=services,
        )
        self._health = health
        self._on_exit = on_exit
        self._on_clear = on_clear
        self._clock = self._place.clock
        self._mail_worker = Workers("license-mail", 1)
        self._mailroom = Mailroom(mail, ca_bundle, self._mail_worker)
        self._mail_problem_told = False
        self._rotation: tuple[LicenseSettings, MailSettings] | None = None
        self._wake = asyncio.Event()
        self._changing = asyncio.Lock()  # the standing, across the waits of a settlement
        self._settings = settings
        self._session: Session
        self._standing = Standing()
        self._last: Meaning | None = None
        self._next_attempt = 0.0  # BOOTTIME
        self._delivered = frozenset[str]()  # mails of this outage that are out
        self._saved: tuple[object, ...] = ()
        self._courier = Courier(
            None if repository is None else Claims(host, repository, self._now),
            node=host,
            now=self._now,
            mail=self._send_mail,
            ticket=self._open_ticket,
            is_shared=self._is_shared,
            on_ticket=self._note_ticket,
        )

    @property
    def serial(self) -> str | None:
        """The enterprise serial: the configured one, else the one that the service answered."""
        success = self._standing.record.success
        return self._settings.serial or (success.serial if success else None)

    def rotate(self, settings: LicenseSettings, mail: MailSettings) -> None:
        """Use new settings from now on; another license is verified at once and starts afresh."""
        self._rotation = (settings, mail)
        self._wake.set()

    async def run(self) -> None:
        """Verify for ever. Raises LicenseOver when Harmony has been told to end."""
        self._health.register_loop(reporting.NAME, _STALLED)
        housekeeping: asyncio.Task[None] | None = None
        try:
            await self._begin(self._settings)
            self._courier.recall(self._session.history)
            if self._mailroom.missing is not None:
                log.warning("%s; nobody hears of trouble with the license", self._mailroom.missing)
            housekeeping = asyncio.create_task(self._keep_house(), name="license housekeeping")
            self._health.sections[reporting.NAME] = lambda: self._report().to_json()
            while True:
                await self._turn()
                self._health.beat(reporting.NAME)
                await self._sleep()
        finally:
            if housekeeping is not None:
                housekeeping.cancel()
            self._health.retire_loop(reporting.NAME)
            await self._courier.close()
            self._place.worker.close()
            self._mail_worker.close()

    async def _begin(self, settings: LicenseSettings) -> None:
        self._settings = settings
        self._session = await take_up(settings, self._place)
        self._standing = self._session.recalled
        self._delivered = self._standing.mailed
        self._next_attempt = self._session.started
        self._last = None

    async def _apply_rotation(self, settings: LicenseSettings, mail: MailSettings) -> None:
        self._rotation = None
        self._mailroom = Mailroom(mail, self._place.ca_bundle, self._mail_worker)
        self._mail_problem_told = False
        if settings == self._settings:
            return
        async with self._changing:
            before, license_before = self._standing, self._session.license_id
            await self._begin(settings)
            if self._session.license_id == license_before:
                self._standing = before
                return
            log.info("the license was replaced by another one, which is verified now")
            self._courier.follow(None)
            self._standing = replace(machine.forget_license(before), record=self._standing.record)

    async def _turn(self) -> None:
        if self._rotation is not None:
            await self._apply_rotation(*self._rotation)
        if self._clock.boottime() >= self._next_attempt:
            await self._attempt()
            return
        if self._standing.state is State.UNVERIFIED and self._last is not None:
            await self._judge(self._last)
            return
        moment, policy = self._session.timekeeper.moment(), self._session.policy
        if machine.would_end(self._standing, moment, policy):
            # Another node may have verified it in the last minute.
            await self._reconcile(lambda standing: machine.tick(standing, moment, policy))
        else:
            async with self._changing:
                await self._follow(*machine.tick(self._standing, moment, policy))

    async def _attempt(self) -> None:
        meaning = await self._verify()
        patience = self._session.started + min(_START_PATIENCE, self._settings.verify_retry)
        backoff = Backoff(first=2.0, ceiling=8.0, floor=1.0)
        while (
            isinstance(meaning, Unreached)
            and self._standing.state is State.UNVERIFIED
            and self._last is None
            and not self._standing.record.outages
            and self._clock.boottime() < patience
        ):
            await asyncio.sleep(backoff.next())
            meaning = await self._verify()
        await self._judge(meaning)
        self._next_attempt = self._clock.boottime() + self._wait_after(meaning)

    async def _verify(self) -> Meaning:
        attempt = await self._session.verifier.attempt()
        if attempt.date is not None and self._session.timekeeper.hear(attempt.date):
            log.warning(
                "this node's clock is wrong: the time of Cleo's service is used instead",
                extra={"date": datetime.fromtimestamp(attempt.date, UTC).isoformat()},
            )
        reporting.count(attempt.meaning)
        _tell(attempt.meaning)
        return attempt.meaning

    def _wait_after(self, meaning: Meaning) -> float:
        if isinstance(meaning, Verified):
            return self._session.policy.interval
        wait = self._session.policy.retry * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        left = machine.remaining(self._standing, self._session.policy)
        if left is not None and _LAST_MINUTE < left < wait + _LAST_MINUTE:
            return left - _LAST_MINUTE
        return wait

    async def _judge(self, meaning: Meaning) -> None:
        self._last = meaning
        async with self._changing:
            before, policy = self._standing, self._session.policy
            moment, new_id = self._session.timekeeper.moment(), str(uuid.uuid4())

            def decide(record: Record, history: History) -> Step:
                around = Surroundings(self._place.host, moment, history, new_id)
                return machine.judge(replace(before, record=record), meaning, around, policy)

            settled = await self._session.ledger.settle(before.record, moment.now, decide)
            await self._follow(*settled, attempted=True)

    async def _follow(
        self, standing: Standing, effects: list[Effect], *, attempted: bool = False
    ) -> None:
        """Take on a new standing and do what it asks for."""
        if standing.state is not self._standing.state:
            log.info(
                "the license is %s",
                standing.state.value,
                extra={"before": self._standing.state.value, "cause": standing.cause},
            )
        if not machine.goes_on(self._standing, standing):
            self._courier.follow(None)
            self._delivered = frozenset()
        self._standing = standing
        self._courier.follow(standing.case)
        for effect in effects:
            self._do(effect)
        await self._remember(attempted=attempted)
        self._show()
        for effect in effects:
            if isinstance(effect, Stop):
                await self._end(effect)

    def _do(self, effect: Effect) -> None:
        if isinstance(effect, LetRun):
            self._health.pass_step(reporting.NAME, self._standing.state.value)
            self._on_clear()
        elif isinstance(effect, OpenTicket):
            self._courier.ticket(effect)
        elif isinstance(effect, SendMail):
            self._mail(effect)

    def _mail(self, letter: SendMail) -> None:
        if self._mailroom.missing is None:
            self._courier.mail(letter)
            return
        # Asked for again at the next look, so that settings which come later are of use.
        mailed = self._standing.mailed - {letter.kind}
        self._standing = replace(self._standing, mailed=mailed)
        if not self._mail_problem_told:
            self._mail_problem_told = True
            log.warning("%s", self._mailroom.missing, extra={"mail": letter.kind})

    async def _end(self, stop: Stop) -> None:
        signal = ExitSignal(stop.reason, stop.message)
        await self._on_exit(signal)
        await self._courier.flush(_FLUSH_LIMIT)
        await self._remember(attempted=False)  # else each later start would mail again
        raise LicenseOver(signal)

    async def _remember(self, *, attempted: bool) -> None:
        """Save what has to survive a restart: after each attempt, and when it changed. Mails
        count once they are out, so that a restart goes on with those that are not."""
        standing = self._standing
        if standing.state is State.UNVERIFIED:
            return  # a copy found at the next start has to mean that something is known
        self._delivered |= standing.mailed & self._courier.finished()
        history = self._courier.history
        key = (standing.record, standing.counts, self._delivered, history)
        if not attempted and key == self._saved:
            return
        self._saved = key
        await self._session.keeper.remember(
            Memory(
                standing.record,
                self._session.timekeeper.moment(),
                standing.counts,
                standing.meter,
                tuple(sorted(self._delivered)),
                history,
            )
        )

    async def _send_mail(self, kind: str, outage: Outage) -> None:
        moment = self._session.timekeeper.moment()
        left = machine.remaining(self._standing, self._session.policy, moment)
        facts = Facts(
            system=self._place.system,
            node=self._place.host,
            serial=self.serial,
            license_url=self._settings.url,
            outage=outage,
            cause=self._standing.cause or outage.cause,
            fault=self._last.fault if isinstance(self._last, Unreached) else Fault.CUSTOMER,
            left=left or 0.0,
            now=moment.now,
            time_zone=self._mailroom.time_zone,
        )
        await self._mailroom.send(kind, facts)

    async def _open_ticket(self, wanted: OpenTicket, outage: Outage) -> str:
        return await self._session.services.tickets.open(
            TicketRequest(
                serial=self.serial,
                system=self._place.system,
                host=self._place.host,
                outage=outage.id,
                outageStarted=reporting.utc(outage.start),
                kind=wanted.kind,
                evidence=[redact(wanted.cause)],
            )
        )

    def _is_shared(self, outage_id: str) -> bool:
        return self._session.ledger.is_shared(outage_id)

    async def _note_ticket(self, outage_id: str, number: str) -> None:
        """Write the ticket's number into the shared record, for status and later mails."""
        await self._reconcile(
            lambda standing: (
                replace(standing, record=standing.record.with_ticket(outage_id, number)),
                [],
            )
        )

    async def _reconcile(self, change: Callable[[Standing], Step]) -> None:
        """Change the standing together with what the repository has, without an attempt."""
        async with self._changing:
            before = self._standing

            def decide(record: Record, _: History) -> Step:
                return change(replace(before, record=record))

            settled = await self._session.ledger.settle(before.record, self._now(), decide)
            await self._follow(*settled)
            if before.outage is not None and self._standing.outage is None:
                # Another node has verified the license meanwhile: that is to be judged now.
                self._next_attempt = self._clock.boottime()
                self._wake.set()

    async def _keep_house(self) -> None:
        """Delete what the repository holds of bygone outages, about once a day."""
        while True:
            await asyncio.sleep(_HOUSEKEEPING * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            if self._standing.state is State.UNVERIFIED:
                continue  # it is not known which outages run
            cases = (*self._standing.record.outages, self._standing.case)
            try:
                async with asyncio.timeout(_HOUSEKEEPING_LIMIT):
                    await self._courier.purge({case.id for case in cases if case is not None})
            except (AgentError, TimeoutError) as error:
                log.warning("old mail and ticket records can't be deleted now: %s", error)

    def _now(self) -> float:
        return self._session.timekeeper.moment().now

    def _show(self) -> None:
        reporting.show(self._report(), self._health)

    def _report(self) -> reporting.Report:
        moment = self._session.timekeeper.moment()
        return reporting.Report(
            standing=self._standing,
            left=machine.remaining(self._standing, self._session.policy, moment),
            now=moment.now,
            next_attempt=moment.now + max(0.0, self._next_attempt - moment.boot),
            errands=self._courier.status(),
            history=self._courier.history,
            mail_problem=self._mailroom.missing,
        )

    async def _sleep(self) -> None:
        """Until there is something to do, at most some minutes."""
        waits = [_LONGEST_SLEEP, self._next_attempt - self._clock.boottime()]
        if self._standing.state is State.UNVERIFIED:
            waits.append(_HELD_RETRY)
        event = machine.seconds_to_next_event(self._standing, self._session.policy)
        if event is not None:
            waits.append(event)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(_SHORTEST_SLEEP, min(waits))):
                await self._wake.wait()
        self._wake.clear()


def _tell(meaning: Meaning) -> None:
    if isinstance(meaning, Unreached):
        log.warning("the license can't be verified: %s", meaning.cause)
    elif isinstance(meaning, Refusal):
        log.error("%s", meaning.cause)
    else:
        log.info("the license is verified", extra={"expires": meaning.expires})
