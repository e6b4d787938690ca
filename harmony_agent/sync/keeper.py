"""The rhythm of one side: hints at once, a full look at home every minute, passes in rounds.

What happens in the repository is the lookout's; what we write there is told by our marker.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Set
from dataclasses import dataclass
from typing import Any, Final

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import AgentError, Refused, Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.sync.applying.turns import GivenUpError
from harmony_agent.sync.decisions.policies import Policy
from harmony_agent.sync.engine import Engine, Report
from harmony_agent.sync.errands import Retry
from harmony_agent.sync.home.scan import CAREFUL, FINAL, Care
from harmony_agent.sync.home.watch import Hints, HintSource
from harmony_agent.sync.lookout import Lookout
from harmony_agent.sync.markers.bulletin import Bulletin
from harmony_agent.sync.status import Status, as_json, shown

__all__ = ["Keeper", "Timing", "round_size"]

log = logging.getLogger(__name__)

_COALESCE: Final = 0.1  # seconds; a save is several events
_SHORTEST_WAIT: Final = 0.01  # seconds; a clock that rounds down must not make us spin
_RESCAN: Final = 60.0  # seconds; hints can be lost
_POLL: Final = 2.0  # seconds between looks where there are no hints
_POLL_SHARE: Final = 0.02  # of a core that polling may take
_STALLED: Final = 900.0  # seconds; a look at a large home may take 600
# How much is dealt with before listings, markers and new hints get their turn: by time, as far as
# the number of files allows; planning anew costs, and a round of many files outgrows a marker.
_ROUND: Final = 5.0  # seconds
_SMALLEST_ROUND: Final = 32  # files
_LARGEST_ROUND: Final = 512

_OURS_AGAIN: Final = 1.0  # seconds between looks whether this host's folder is ours again

# A few refused files are those files' trouble; so many without a success are the repository's.
_MANY_REFUSED: Final = 16


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: how long a file has to rest before it is read, and between full listings."""

    settle: float
    list_interval: float


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
        bulletin: Bulletin | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`check` is called before the first pass and with each listing; it raises an AgentError
        if the repository is not the one it was. `bulletin` is for a repository that other nodes
        write to as well."""
        self._side = side
        self._engine = engine
        self._hints = hints
        self._status = status
        self._health = health
        self._timing = timing
        self._check = check
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._work_retry = Retry(clock)
        self._failing: dict[str, AgentError] = {}
        self._marker = None if bulletin is None else bulletin.own
        self._lookout = Lookout(
            side,
            engine=engine,
            check=check,
            list_interval=timing.list_interval,
            bulletin=bulletin,
            wake=hints.wake,
            clock=clock,
        )
        self._scan_at = self._looked_at_all = clock()
        self._full_look_after = 0.0
        self._look_at: float | None = None
        self._restless: set[str] = set()
        self._checked = False
        self._is_down = False  # nothing at all worked at the last attempt
        self._goes_on = False  # the last pass left work for another round
        self._round = _SMALLEST_ROUND

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
            await self._lookout.cancel()

    def beat(self) -> None:
        """A pass goes on."""
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
                            await self._announce(closed=True)
                            break
                        await self._announce()
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

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """No pass is made and nothing is asked while the block runs: perhaps it is another
        repository afterwards."""
        async with self._one_at_a_time:
            await self._lookout.restart()
            self._checked = False
            yield

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
                report = await self._work(
                    policy, CAREFUL, sure=accept_deletes, accept_deletes=accept_deletes
                )
                await self._announce()
                self._status.finished(report, self._notice())
        return as_json(report, dry_run=dry_run)

    # One turn of the loop.

    async def _turn(self, hints: Hints, policy: Policy) -> None:
        async with self._one_at_a_time:
            await self._lookout.turn()
            if self._lookout.trouble is not None:
                self._checked = False  # perhaps it is another repository by now
            await self._announce()  # the first time: that this process writes, before it does
            now = self._clock()
            if hints.everything or now >= self._scan_at:
                await self._pass(None, policy, CAREFUL)
            else:
                is_time = self._look_at is not None and now >= self._look_at
                await self._pass(
                    hints.paths | (self._restless if is_time else set()), policy, CAREFUL
                )
            await self._announce()

    async def _pass(
        self, paths: Set[str] | None, policy: Policy, care: Care, *, sure: bool = False
    ) -> Report | None:
        """Look at `paths` (None: everything) and do what there is to do; None if it failed."""
        if not self._goes_on:
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
            began = self._clock()
            at_most = None if sure else self._round
            report = await self._work(policy, care, sure=sure, skip=skip, at_most=at_most)
            self._round = round_size(len(report.done), self._clock() - began)
        except AgentError as error:
            self._status.failed(error)
            self._work_retry.failed(error)
            self._is_down, self._goes_on = True, False
            if self._work_retry.at is not None:
                self._scan_at = max(self._scan_at, self._work_retry.at)
            return None
        self._conclude(report, skip)
        return report

    async def _work(
        self,
        policy: Policy,
        care: Care,
        *,
        sure: bool,
        accept_deletes: bool = False,
        skip: Container[str] = (),
        at_most: int | None = None,
    ) -> Report:
        """Engine.work, whatever it writes told by our marker."""
        try:
            report = await self._engine.work(
                policy, care, accept_deletes=accept_deletes, sure=sure, skip=skip, at_most=at_most
            )
        except BaseException:
            if self._marker is not None:
                self._marker.lost_track()  # of what was written until then
            raise
        if self._marker is not None:
            self._marker.tell(report.written)
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
        elif report.gave_up:
            self._work_retry.failed(GivenUpError())
        elif not skipped:
            self._work_retry.succeeded()
        open_actions = {action.path for action in report.plan.actions}
        report.failures.update({p: e for p, e in skipped.items() if p in open_actions})
        self._failing = dict(report.failures)
        unavailable = any(isinstance(error, Unavailable) for error in self._failing.values())
        refused = sum(isinstance(error, Refused) for error in self._failing.values())
        self._is_down = not report.done and (unavailable or refused >= _MANY_REFUSED)
        self._goes_on = bool(report.done) and bool(open_actions - self._failing.keys())
        self._restless = {*report.plan.restless, *report.plan.unsure}
        self._status.finished(report, self._notice(), goes_on=self._goes_on)
        if report.plan.unconfirmed:
            self._lookout.list_by(self._clock() + min(report.plan.unconfirmed.values()))
        waits = list(report.plan.unsure.values())
        if report.plan.restless:
            waits.append(self._timing.settle)
        if report.plan.waiting:
            waits.append(_OURS_AGAIN)
        self._look_at = self._next_look(min(waits)) if waits else None

    def _next_look(self, wait: float) -> float:
        """When to look again at what is not at rest: a look that is planned is not put off, or
        steady traffic would put it off for ever."""
        due = self._clock() + wait
        return due if self._look_at is None else min(self._look_at, due)

    def _idle(self) -> float:
        """Seconds until something is due without a hint."""
        if self._goes_on:
            return _SHORTEST_WAIT
        moments = [self._scan_at, self._lookout.due]
        if self._look_at is not None:
            moments.append(self._look_at)
        if self._work_retry.at is not None:
            moments.append(self._work_retry.at)
        if (announce_at := self._announce_at()) is not None:
            moments.append(announce_at)
        return max(_SHORTEST_WAIT, min(moments) - self._clock())

    def _notice(self) -> str | None:
        """What hinders without stopping the passes."""
        own = None if self._marker is None else self._marker.trouble
        return self._lookout.trouble or own or self._hints.trouble

    def _announce_at(self) -> float | None:
        """When the other nodes are to be told what was written; None: there is nothing, or the
        repository is down anyway."""
        return None if self._marker is None or self._is_down else self._marker.due

    async def _announce(self, *, closed: bool = False) -> None:
        """Tell the other nodes what was written, if that is due; `closed`: as the last word."""
        due = self._announce_at()
        if self._marker is not None and (closed or (due is not None and self._clock() >= due)):
            with contextlib.suppress(AgentError):  # the marker keeps it as its trouble
                await self._marker.publish(closed=closed)


def round_size(done: int, took: float) -> int:
    """How many files the next round may deal with in each direction, after one that dealt with
    `done` in `took` seconds."""
    fitting = int(done * _ROUND / max(took, 0.001))
    return max(_SMALLEST_ROUND, min(_LARGEST_ROUND, fitting))
