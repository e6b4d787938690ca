"""Mails and tickets in the background: each once per system and outage, retried until it is done.

Which node of a system does it is settled by a claim in the configuration repository. While that
can't be reached, tickets wait; mails wait for as long as a takeover would take and then go out all
the same: an administrator told twice is better than one not told.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import Counter

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import AgentError, Unavailable
from harmony_agent.license import metrics
from harmony_agent.license.claims import TAKEOVER, Claim, Claims, Taken
from harmony_agent.license.machine import OpenTicket, SendMail
from harmony_agent.license.record import Outage
from harmony_agent.repositories.layout import CONTROL

__all__ = ["Courier", "Done"]

log = logging.getLogger(__name__)

_RETRY_CEILING: Final = 300.0  # seconds between attempts at most, unless asked for more
_LONGEST_REQUEST: Final = 6 * 3600.0  # seconds that a Retry-After is obeyed: four days are short
_REMEMBERED: Final = 20  # mails and tickets in the history
_MAILS: Final = f"{CONTROL}/mails"
_TICKETS: Final = f"{CONTROL}/tickets"
_TICKET: Final = "ticket"
_DONE: Final = "done"


@dataclass(frozen=True, slots=True)
class Done:
    """A mail that is out or a ticket that is open: when (seconds since 1970), what, for which
    outage, by which node, and the ticket's number."""

    at: float
    what: str
    outage: str
    node: str
    outcome: str


@dataclass
class _Job:
    """One mail or ticket: since when it waits (loop time), and its `outcome` once the work itself
    is done."""

    name: str
    outage: Outage
    since: float
    work: Callable[[Outage], Awaitable[str]]
    outcome: str | None = None
    state: str = "waiting"
    retry_after: float | None = None

    @property
    def claim(self) -> str:
        """The path of the claim, in the configuration repository."""
        if self.name == _TICKET:
            return f"{_TICKETS}/{self.outage.id}"
        return f"{_MAILS}/{self.outage.id}/{self.name}"


class Courier:
    """The pending mails and the pending ticket of one node.

    `mail` composes and sends the mail of a kind; `ticket` opens a ticket and gives its number;
    both raise AgentError. `is_shared` tells whether an outage's id stands in the repository:
    without it there is no ticket. `on_ticket` hears the number, whichever node opened it.
    `claims` is None where no repository is configured: there is one node then. `node` is this one,
    `now` the time in seconds since 1970.
    """

    def __init__(
        self,
        claims: Claims | None,
        *,
        node: str,
        now: Callable[[], float],
        mail: Callable[[str, Outage], Awaitable[None]],
        ticket: Callable[[OpenTicket, Outage], Awaitable[str]],
        is_shared: Callable[[str], bool],
        on_ticket: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._claims = claims
        self._node = node
        self._now = now
        self._mail = mail
        self._open_ticket = ticket
        self._is_shared = is_shared
        self._on_ticket = on_ticket
        self._jobs: dict[str, _Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._history: deque[Done] = deque(maxlen=_REMEMBERED)
        self._ending = asyncio.Event()

    def mail(self, letter: SendMail) -> None:
        """See to it that this mail is sent."""

        async def work(outage: Outage) -> str:
            with _counted(metrics.MAILS, "sent"):
                await self._mail(letter.kind, outage)
            log.info("mailed the administrator", extra={"mail": letter.kind, "outage": outage.id})
            return "sent"

        self._start(letter.kind, letter.outage, work)

    def ticket(self, wanted: OpenTicket) -> None:
        """See to it that the outage has a ticket; asked again for the same outage it does nothing
        more."""

        async def work(outage: Outage) -> str:
            with _counted(metrics.TICKETS, "opened"):
                number = await self._open_ticket(wanted, outage)
            log.info("opened a ticket at Cleo", extra={"ticket": number, "outage": outage.id})
            return number

        self._start(_TICKET, wanted.outage, work)

    def follow(self, outage: Outage | None) -> None:
        """The outage that counts now: pending work goes on for it, or is dropped if none does."""
        for name, job in list(self._jobs.items()):
            if name == "verified-again":
                continue
            if outage is not None:
                job.outage = outage
            else:
                self._drop(name)

    async def flush(self, limit: float) -> None:
        """Give pending mails `limit` seconds; the process is about to end, so they are tried at
        once, and without a claim where none can be had."""
        self._ending.set()
        mails = [task for name, task in self._tasks.items() if name != _TICKET]
        if mails:
            await asyncio.wait(mails, timeout=limit)

    async def close(self) -> None:
        """Stop; what is pending is taken up by the next start, or by another node."""
        tasks = list(self._tasks.values())
        for name in list(self._jobs):
            self._drop(name)
        await asyncio.gather(*tasks, return_exceptions=True)

    def status(self) -> dict[str, Any]:
        """Each mail and the ticket of this outage, and how far it has come."""
        return {name: job.state for name, job in self._jobs.items()}

    @property
    def history(self) -> tuple[Done, ...]:
        """What was done lately, by this node or another, the oldest first."""
        return tuple(self._history)

    def recall(self, history: Iterable[Done]) -> None:
        """Take up the history of an earlier process."""
        self._history.clear()
        self._history.extend(history)

    async def purge(self, running: Collection[str]) -> None:
        """Delete old claims of outages other than these. Raises the repository's errors."""
        if self._claims is not None:
            purged = await self._claims.purge((_MAILS, _TICKETS), running)
            if purged:
                log.info("deleted old mail and ticket records", extra={"files": purged})

    def finished(self) -> frozenset[str]:
        """The mails that are out, sent by this node or by another."""
        return frozenset(name for name, job in self._jobs.items() if job.outcome is not None)

    def _start(self, name: str, outage: Outage, work: Callable[[Outage], Awaitable[str]]) -> None:
        known = self._jobs.get(name)
        if known is not None and known.outage.id == outage.id:
            return
        self._drop(name)
        job = _Job(name, outage, asyncio.get_running_loop().time(), work)
        self._jobs[name] = job
        self._tasks[name] = asyncio.create_task(self._see_to(job), name=f"license {name}")

    def _drop(self, name: str) -> None:
        self._jobs.pop(name, None)
        task = self._tasks.pop(name, None)
        # A ticket's own number may bring the news that its outage is over: that task goes on.
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def _see_to(self, job: _Job) -> None:
        backoff = Backoff(first=5.0, ceiling=_RETRY_CEILING, floor=1.0)
        try:
            while not await self._attempt(job):
                await self._pause(backoff.next(job.retry_after))
            if job.name == _TICKET and job.outcome is not None:
                await self._on_ticket(job.outage.id, job.outcome)
        except Exception:
            # A mistake of ours in a mail must not end the agent, and Harmony with it.
            job.state = "failed"
            log.exception("a mail or ticket could not be made", extra={"job": job.name})

    async def _pause(self, seconds: float) -> None:
        """Wait; the process's end cuts it short, once."""
        if self._ending.is_set():
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()

    async def _attempt(self, job: _Job) -> bool:
        """One attempt; whether the job is done, here or by another node."""
        job.retry_after = None
        try:
            job.state = await self._advance(job)
        except AgentError as error:
            if isinstance(error, Unavailable) and error.retry_after is not None:
                job.retry_after = min(error.retry_after, _LONGEST_REQUEST)
            told = "done, but the other nodes can't be told" if job.outcome else "tried again"
            job.state = f"{told}: {error}"
            log.warning("%s", error, extra={"job": job.name, "outage": job.outage.id})
        return job.state == _DONE

    async def _advance(self, job: _Job) -> str:
        if job.name == _TICKET and not self._is_shared(job.outage.id):
            return "waits until the outage stands in the configuration repository"
        if job.outcome is None:
            taken, claim = await self._take(job)
            if taken is Taken.OTHERS:
                return f"node {claim.owner} is at it"
            if taken is Taken.DONE:
                job.outcome = claim.outcome
                self._note(job, claim.outcome or "", claim.owner, claim.at)
                return _DONE
            job.outcome = await job.work(job.outage)
            self._note(job, job.outcome, self._node, self._now())
        if self._claims is not None:
            await self._claims.complete(job.claim, job.outcome)
        return _DONE

    def _note(self, job: _Job, outcome: str, node: str, at: float) -> None:
        done = Done(at, job.name, job.outage.id, node, outcome)
        if all((d.what, d.outage) != (done.what, done.outage) for d in self._history):
            self._history.append(done)

    async def _take(self, job: _Job) -> tuple[Taken, Claim]:
        if self._claims is None:
            return Taken.MINE, Claim("")
        try:
            return await self._claims.take(job.claim)
        except AgentError:
            waited = asyncio.get_running_loop().time() - job.since
            hurried = self._ending.is_set() or waited >= TAKEOVER
            if job.name == _TICKET or not hurried:
                raise
            return Taken.MINE, Claim(self._claims.node)


@contextmanager
def _counted(counter: Counter, success: str) -> Iterator[None]:
    try:
        yield
    except AgentError:
        counter.labels("failed").inc()
        raise
    counter.labels(success).inc()
