"""The rhythm of one side: hints at once, a full look every minute, a listing every few minutes."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass
from typing import Any, Final

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import AgentError, Refused, Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.sync.engine import Engine, Listing, Report
from harmony_agent.sync.policies import Policy
from harmony_agent.sync.scan import CAREFUL, FINAL, Care
from harmony_agent.sync.status import Status, as_json, shown
from harmony_agent.sync.watch import Hints, HintSource

__all__ = ["Keeper", "Timing"]

log = logging.getLogger(__name__)

_COALESCE: Final = 0.1  # seconds; a save is several events
_SHORTEST_WAIT: Final = 0.01  # seconds; a clock that rounds down must not make us spin
_RESCAN: Final = 60.0  # seconds; hints can be lost
_POLL: Final = 2.0  # seconds between looks where there are no hints
_POLL_SHARE: Final = 0.02  # of a core that polling may take
_STALLED: Final = 900.0  # seconds; a look at a large home may take 600
_CEILING: Final = 30.0  # seconds between attempts while the repository can't be reached
_REFUSED_CEILING: Final = 60.0  # a person has to act first; we notice within a minute when they did

# A few refused files are those files' trouble; so many without a success are the repository's.
_MANY_REFUSED: Final = 16


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: how long a file has to rest before it is read, and between full listings."""

    settle: float
    list_interval: float


class _Retry:
    """When to try again after failures."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._unavailable = Backoff(first=0.5, ceiling=_CEILING)
        self._refused = Backoff(first=5.0, ceiling=_REFUSED_CEILING)
        self.at: float | None = None

    def failed(self, error: AgentError) -> None:
        """The next attempt is put off."""
        if isinstance(error, Unavailable):
            wait = self._unavailable.next(error.retry_after)
        else:
            wait = self._refused.next()
        self.at = self._clock() + wait

    def succeeded(self) -> None:
        """Nothing has to be tried again."""
        self._unavailable.reset()
        self._refused.reset()
        self.at = None

    def is_due(self) -> bool:
        """Whether what failed may be tried again now."""
        return self.at is None or self._clock() >= self.at


class Keeper:
    """Runs the passes of one engine, one at a time."""

    def __init__(
        self,
        side: str,
        *,
        engine: Engine,
        hints: HintSource,
        status: Status,
        health: Health,
        timing: Timing,
        check: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`check` is called before the first pass and with each listing; it raises an AgentError
        if the repository is not the one it was."""
        self._side = side
        self._engine = engine
        self._hints = hints
        self._status = status
        self._health = health
        self._timing = timing
        self._check = check
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._work_retry = _Retry(clock)
        self._list_retry = _Retry(clock)
        self._failing: dict[str, AgentError] = {}
        self._listing: asyncio.Task[Listing] | None = None
        self._scan_at = self._list_at = self._looked_at_all = clock()
        self._full_look_after = 0.0
        self._look_at: float | None = None
        self._restless: set[str] = set()
        self._list_trouble: str | None = None
        self._checked = False
        self._is_down = False  # nothing at all worked at the last attempt

    async def run(self, policy: Policy) -> None:
        """Keep home and repository in step by `policy`, for ever."""
        loop = f"sync-{self._side}"
        self._health.register_loop(loop, _STALLED)
        hints = Hints()
        try:
            while True:
                self._health.beat(loop)
                await self._turn(hints, policy)
                hints = await self._hints.wait(self._idle())
                if hints:
                    await asyncio.sleep(_COALESCE)
                    more = await self._hints.wait(0)
                    hints = Hints(hints.paths | more.paths, hints.everything or more.everything)
        finally:
            self._health.retire_loop(loop)
            if self._listing is not None:
                self._listing.cancel()
                await asyncio.wait([self._listing])
                self._listing = None

    def beat(self) -> None:
        """A pass goes on: one more file was dealt with."""
        self._status.progressed()
        with contextlib.suppress(KeyError):  # outside `run` nobody watches the loop
            self._health.beat(f"sync-{self._side}")

    async def flush(self, policy: Policy, limit: float) -> int:
        """Push what is left for at most `limit` seconds; how many files could not be pushed."""
        backoff = Backoff(first=0.2, ceiling=2.0)
        pending = self._status.pending
        report: Report | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit), self._one_at_a_time:
                while True:
                    report = await self._pass(None, policy, FINAL, sure=True)
                    if report is not None:
                        pending = report.pending
                        if not pending:
                            break
                    await asyncio.sleep(backoff.next())
        if report is None:
            log.error("%s: the last push failed: %s", self._side, self._status.trouble)
            return max(1, len(pending))  # nobody knows
        if pending:
            log.warning(
                "%s: %d files could not be pushed in time",
                self._side,
                len(pending),
                extra={"files": sorted(map(shown, pending))[:20]},
            )
        return len(pending)

    async def once(self, policy: Policy, *, dry_run: bool, accept_deletes: bool) -> dict[str, Any]:
        """One pass over everything now; with `dry_run` only what it would do.

        Raises an AgentError if home or repository can't be read.
        """
        async with self._one_at_a_time:
            await self._check()
            await self._engine.look_home(None, CAREFUL)
            await self._engine.saw_repository(await self._engine.list_repository())
            if dry_run:
                report = Report(await self._engine.plan(policy, accept_deletes=accept_deletes))
            else:
                report = await self._engine.work(
                    policy, CAREFUL, accept_deletes=accept_deletes, sure=accept_deletes
                )
                self._status.finished(report, self._list_trouble or self._hints.trouble)
        return as_json(report, dry_run=dry_run)

    # One turn of the loop.

    async def _turn(self, hints: Hints, policy: Policy) -> None:
        async with self._one_at_a_time:
            await self._mind_listing()
            now = self._clock()
            if hints.everything or now >= self._scan_at:
                await self._pass(None, policy, CAREFUL)
            else:
                is_time = self._look_at is not None and now >= self._look_at
                await self._pass(
                    hints.paths | (self._restless if is_time else set()), policy, CAREFUL
                )

    async def _pass(
        self, paths: Set[str] | None, policy: Policy, care: Care, *, sure: bool = False
    ) -> Report | None:
        """Look at `paths` (None: everything) and do what there is to do; None if it failed."""
        self._status.began()
        if self._look_at is not None and self._look_at <= self._clock():
            self._look_at = None
        may_retry = sure or self._work_retry.is_due()
        try:
            if paths is None or paths:
                await self._look(paths, care)
            if self._is_down and not may_retry:
                return None
            if not self._checked:
                await self._check()
                self._checked = True
            skip = {} if may_retry else self._failing
            report = await self._engine.work(policy, care, sure=sure, skip=skip)
        except AgentError as error:
            self._status.failed(error)
            self._work_retry.failed(error)
            self._is_down = True
            if self._work_retry.at is not None:
                self._scan_at = max(self._scan_at, self._work_retry.at)
            return None
        self._conclude(report, skip)
        return report

    async def _look(self, paths: Set[str] | None, care: Care) -> None:
        began = self._clock()
        self._scan_at = began  # what a look that fails would have found needs a full one
        await self._engine.look_home(paths, care)
        if paths is None:
            took = self._clock() - began
            poll = min(_RESCAN, max(_POLL, took / _POLL_SHARE))
            self._full_look_after = _RESCAN if self._hints.trouble is None else poll
            self._looked_at_all = self._clock()
        self._scan_at = self._looked_at_all + self._full_look_after

    def _conclude(self, report: Report, skipped: dict[str, AgentError]) -> None:
        """Note what failed and when to look again."""
        if report.failures:
            worst = min(report.failures.values(), key=lambda error: isinstance(error, Refused))
            self._work_retry.failed(worst)
        elif not skipped:
            self._work_retry.succeeded()
        open_actions = {action.path for action in report.plan.actions}
        report.failures.update({p: e for p, e in skipped.items() if p in open_actions})
        self._failing = dict(report.failures)
        unavailable = any(isinstance(error, Unavailable) for error in self._failing.values())
        refused = sum(isinstance(error, Refused) for error in self._failing.values())
        self._is_down = not report.done and (unavailable or refused >= _MANY_REFUSED)
        self._restless = {*report.plan.restless, *report.plan.unsure}
        self._status.finished(report, self._list_trouble or self._hints.trouble)
        waits = list(report.plan.unsure.values())
        if report.plan.restless:
            waits.append(self._timing.settle)
        self._look_at = self._next_look(min(waits)) if waits else None

    def _next_look(self, wait: float) -> float:
        """When to look again at what is not at rest: a look that is planned is not put off, or
        steady traffic would put it off for ever."""
        due = self._clock() + wait
        return due if self._look_at is None else min(self._look_at, due)

    def _idle(self) -> float:
        """Seconds until something is due without a hint."""
        moments = [self._scan_at]
        if self._look_at is not None:
            moments.append(self._look_at)
        if self._work_retry.at is not None:
            moments.append(self._work_retry.at)
        if self._listing is None:
            moments.append(self._list_at)
        return max(_SHORTEST_WAIT, min(moments) - self._clock())

    async def _mind_listing(self) -> None:
        """Start a listing when it is due, and take in the one that has ended; it may take a
        minute, and pushing does not wait for it."""
        if self._listing is None:
            if self._clock() >= self._list_at:
                self._listing = asyncio.create_task(self._list(), name=f"list {self._side}")
                self._listing.add_done_callback(lambda _: self._hints.wake())
            return
        if not self._listing.done():
            return
        ended, self._listing = self._listing, None
        try:
            await self._engine.saw_repository(ended.result())
        except AgentError as error:
            self._list_trouble = str(error)
            self._list_retry.failed(error)
            self._list_at = self._list_retry.at or self._clock()
        else:
            self._list_trouble = None
            self._list_retry.succeeded()
            # Jitter keeps the nodes of a system from listing in step.
            self._list_at = self._clock() + self._timing.list_interval * random.uniform(0.9, 1.1)  # noqa: S311 - jitter, not cryptography

    async def _list(self) -> Listing:
        await self._check()
        return await self._engine.list_repository()
