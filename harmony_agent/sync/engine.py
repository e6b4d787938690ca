"""Scan, compare, plan, apply: the machinery both sides share. A policy says what is done."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass, field
from typing import Final

from harmony_agent.core.errors import AgentError, OutcomeUnknown
from harmony_agent.core.threads import Workers
from harmony_agent.repositories.interface import Repository, Token
from harmony_agent.sync import metrics
from harmony_agent.sync.applying.apply import Applier
from harmony_agent.sync.applying.outcome import Doubt, Outcome
from harmony_agent.sync.applying.transfers import Transfers
from harmony_agent.sync.base import Base
from harmony_agent.sync.conflicts.store import ConflictStore
from harmony_agent.sync.decisions.absences import Absences
from harmony_agent.sync.decisions.ledger import Ledger
from harmony_agent.sync.decisions.paths import Ownership, name_problem, twins
from harmony_agent.sync.decisions.plan import (
    Action,
    Circumstances,
    Plan,
    first_of,
    in_order,
    make_plan,
)
from harmony_agent.sync.decisions.policies import DELETING_ACTS, REMOTE_ACTS, Act, Policy
from harmony_agent.sync.decisions.states import LocalFile, RemoteFile
from harmony_agent.sync.home.files import HomeFiles
from harmony_agent.sync.home.mark import HomeMark
from harmony_agent.sync.home.scan import Care, Look, Scanner
from harmony_agent.sync.progress import Progress

__all__ = ["Engine", "Limits", "Listing", "Report"]

_SCAN_LIMIT: Final = 600.0  # seconds; the first look at a large home hashes all of it
_AT_ONCE: Final = 16
_ROUNDS: Final = 5  # a file that changes faster than this is left for the next pass


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """Token and size of every file of ours that the repository holds; of the paths in `written`,
    which we wrote to while the listing was under way, it tells nothing."""

    files: dict[str, tuple[Token, int]] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    began: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What guards deletes (plan.Circumstances says how)."""

    max_delete: float
    delete_after: float
    may_empty: bool


@dataclass(slots=True)
class Report:
    """What a pass came to: what was done and what failed by path, bytes moved to (`sent`) and
    from (`received`) the repository, the paths there that were or may have been `written` (True:
    deleted), and the plan that is left. With `gave_up` so much failed that not all was tried."""

    plan: Plan
    done: dict[str, Act] = field(default_factory=dict)
    failures: dict[str, AgentError] = field(default_factory=dict)
    written: dict[str, bool] = field(default_factory=dict)
    sent: int = 0
    received: int = 0
    gave_up: bool = False

    @property
    def pending(self) -> set[str]:
        """Files that still have to be dealt with and can be, if only once this host's folder is
        ours."""
        actions = {action.path for action in self.plan.actions} | self.plan.waiting
        return actions | {*self.plan.restless, *self.plan.unsure} | self.failures.keys()


class Engine:
    """Keeps the files of one side in step. Not reentrant: one pass at a time."""

    def __init__(
        self,
        side: str,
        *,
        ownership: Ownership,
        scanner: Scanner,
        files: HomeFiles,
        transfers: Transfers,
        mark: HomeMark,
        repository: Repository,
        conflicts: ConflictStore | None,
        base: Base,
        workers: Workers,
        limits: Limits,
        may_write: Callable[[], bool],
        progress: Progress,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._side = side
        self._ownership = ownership
        self._scanner = scanner
        self._files = files
        self._mark = mark
        self._repository = repository
        self._base = base
        self._workers = workers
        self._limits = limits
        self._may_write = may_write
        self._clock = clock
        self._progress = progress
        self._applier = Applier(
            repository=repository,
            base=base,
            files=files,
            conflicts=conflicts,
            transfers=transfers,
            workers=workers,
            may_write=may_write,
            progress=progress,
        )
        self._ledger = Ledger()
        self._absences = Absences()
        self._noticed: dict[str, tuple[bool, float]] = {}  # is it gone, and since when so
        self._listings: list[Listing] = []  # under way, or not taken in yet
        self._swept = False
        self._files_here = 0
        self._files_there = 0

    async def look_home(self, paths: Collection[str] | None, care: Care) -> None:
        """Look at these files and folders, or at everything (None).

        Raises Unavailable or Refused if home can't be read or is not the one the base is of.
        """
        starts = {""} if paths is None else set(paths)
        rows = await (self._base.all() if paths is None else self._base.under(starts))

        def look() -> Look:
            self._mark.verify()
            found = self._scanner.look(starts, rows, self._ledger.local, care)
            self._mark.verify()  # a volume that went away meanwhile looks like a great delete
            self._files.sweep(found.residue, younger_too=not self._swept)
            return found

        began = self._clock()
        found = await self._workers.run(_SCAN_LIMIT, look)
        if paths is None:
            self._swept = True
            self._files_here = found.files
            metrics.SCAN_SECONDS.labels(self._side).observe(self._clock() - began)
        if found.touched:
            await self._base.touch_all(found.touched)
        self._ledger.saw_home(found.differing, {**rows, **found.touched}, _within(starts))
        self._note_times()

    async def list_repository(self) -> Listing:
        """All files of ours that the repository holds; may run while passes go on.

        Hand the answer to `saw_repository`. Raises the repository's errors.
        """
        listing = Listing(began=self._clock())
        self._listings.append(listing)
        try:
            for folder in self._ownership.folders():
                for entry in await self._repository.list(folder):
                    if self._ownership.owns(entry.path) and name_problem(entry.path) is None:
                        listing.files[entry.path] = (entry.token, entry.size)
        except BaseException:
            self._listings.remove(listing)
            raise
        return listing

    async def saw_repository(self, listing: Listing) -> None:
        """Compare a listing with the base."""
        self._listings.remove(listing)
        rows = await self._base.all()
        self._ledger.saw_repository(listing.files, rows, listing.written)
        missing = rows.keys() - listing.files.keys() - listing.written
        self._absences.listed(missing, listing.began)
        self._files_there = len(listing.files)

    def forget_listings(self) -> None:
        """Those that were made and not taken in are not any more; none is under way."""
        self._listings.clear()

    async def forget_repository(self) -> None:
        """The repository will be another place: until a listing tells, nothing of ours is there.

        Raises Unavailable or Refused if the base can't be read.
        """
        rows = await self._base.all()
        self._absences = Absences()
        self._ledger.saw_repository({}, rows, ())
        self._files_there = 0
        self._note_times()

    async def look_repository(self, named: Mapping[str, bool]) -> None:
        """Look at these paths, which another node says it changed (True: deleted).

        Raises the repository's errors.
        """
        paths = [p for p in named if self._ownership.owns(p) and name_problem(p) is None]
        for start in range(0, len(paths), _AT_ONCE):
            batch = paths[start : start + _AT_ONCE]
            entries = await asyncio.gather(*(self._repository.stat(path) for path in batch))
            rows = await self._base.under(set(batch))
            for path, entry in zip(batch, entries, strict=True):
                remote = None if entry is None else RemoteFile(entry.token, entry.size)
                self._ledger.saw_remote(path, remote, rows.get(path))
                if remote is not None:
                    self._absences.found(path)
                elif named[path]:
                    self._absences.confirmed(path, self._clock())
            for listing in self._listings:
                listing.written.update(batch)
        self._note_times()

    async def plan(
        self, policy: Policy, *, accept_deletes: bool = False, sure: bool = False
    ) -> Plan:
        """What would be done now; with `sure` a delete need not wait."""
        now = self._clock()
        new = {case.path for case in self._ledger if case.base is None and case.remote is None}
        circumstances = Circumstances(
            known=max(await self._base.count(), self._files_here, self._files_there),
            max_delete=self._limits.max_delete,
            may_empty=self._limits.may_empty,
            may_write=self._may_write(),
            accept_deletes=accept_deletes,
            delete_after=0.0 if sure else self._limits.delete_after,
            gone_for={path: now - since for path, (gone, since) in self._noticed.items() if gone},
            missing_for={} if accept_deletes else self._absences.waits(self._missing(), now),
            kept_back=await self._base.held(),
            sent=await self._base.sent(),
            twins=await self._twins(new),
            unfit=_unfit(new, self._repository),
        )
        return make_plan(self._ledger, policy, circumstances)

    async def work(
        self,
        policy: Policy,
        care: Care,
        *,
        accept_deletes: bool = False,
        sure: bool = False,
        skip: Container[str] = (),
        at_most: int | None = None,
    ) -> Report:
        """Do all that can be done, except for the paths to `skip`, or a part of it (`at_most` so
        many files in each direction); what fails is in the report and stays to be done."""
        report = Report(await self.plan(policy, accept_deletes=accept_deletes, sure=sure))
        for _ in range(_ROUNDS):
            todo = [
                action
                for action in report.plan.actions
                if action.path not in report.failures and action.path not in skip
            ]
            if not todo:
                break
            self._progress.ahead(len(todo), sum(action.size for action in todo))
            goes_on = await self._carry_out(first_of(in_order(todo), at_most), report, care)
            report.plan = await self.plan(policy, accept_deletes=accept_deletes, sure=sure)
            if not goes_on or (at_most is not None and len(report.done) >= at_most):
                break
        return report

    async def keep_back(self, policy: Policy) -> int:
        """What only home has and `policy` leaves so will not travel before it is edited; how many
        files that are."""
        held = (await self.plan(policy)).held
        only_here = {
            case.path: case.local.sha256
            for case in self._ledger
            if case.path in held
            and isinstance(case.local, LocalFile)
            and case.base is None
            and case.remote is None
        }
        await self._base.hold(only_here)
        return len(only_here)

    async def start_anew(self) -> str:
        """Forget base and ledger; the base's new identity."""
        self._ledger.clear()
        self._absences = Absences()
        self._noticed.clear()
        return await self._base.reset()

    async def _carry_out(self, groups: list[list[Action]], report: Report, care: Care) -> bool:
        """Carry out `groups` in order; False if so much failed that the rest was not tried."""
        for group in groups:
            outcome = await self._applier.carry_out(group)
            report.written.update(_written(group, outcome))
            await self._absorb(outcome, report, care)
            if outcome.gave_up:
                report.gave_up = True
                return False
        return True

    async def _absorb(self, outcome: Outcome, report: Report, care: Care) -> None:
        """Note what became of a group of actions, and look again at what is in doubt."""
        metrics.BYTES.labels(self._side, "sent").inc(outcome.sent)
        metrics.BYTES.labels(self._side, "received").inc(outcome.received)
        metrics.FAILURES.labels(self._side).inc(len(outcome.failures))
        report.failures.update(outcome.failures)
        report.sent += outcome.sent
        report.received += outcome.received
        report.done.update(outcome.in_step)
        for act, files in Counter(outcome.in_step.values()).items():
            metrics.ACTIONS.labels(self._side, act).inc(files)
        push_seconds = metrics.PUSH_SECONDS.labels(self._side)
        now = self._clock()
        for path, act in outcome.in_step.items():
            if act in REMOTE_ACTS and path in self._noticed:
                push_seconds.observe(now - self._noticed[path][1])
            self._ledger.settle(path)
            self._absences.found(path)
            self._noticed.pop(path, None)
        for listing in self._listings:
            listing.written.update(outcome.in_step, outcome.doubts, outcome.failures)
        await self._resolve(outcome.doubts, care)

    async def _resolve(self, doubts: Mapping[str, Doubt], care: Care) -> None:
        for path, doubt in doubts.items():
            if doubt.remote_known:
                self._ledger.remote_is(path, doubt.remote)
        again = [path for path, doubt in doubts.items() if doubt.home]
        if again:
            await self.look_home(again, care)

    def _missing(self) -> list[str]:
        """What the repository should hold and does not."""
        return [case.path for case in self._ledger if case.remote is None and case.base is not None]

    async def _twins(self, new: set[str]) -> dict[str, str]:
        """Those of `new` whose names the repository can't tell from others, with those."""
        if not (new and self._repository.folds_case):
            return {}
        there = {case.path for case in self._ledger if case.remote is not None}
        return twins(new, there | (await self._base.all()).keys())

    def _note_times(self) -> None:
        now = self._clock()
        noticed = {}
        for case in self._ledger:
            gone = case.local is None
            known = self._noticed.get(case.path)
            noticed[case.path] = known if known is not None and known[0] == gone else (gone, now)
        self._noticed = noticed


def _unfit(new: set[str], repository: Repository) -> dict[str, str]:
    """Those of `new` whose names `repository` can't hold, with the reason."""
    problems = ((path, repository.name_problem(path)) for path in new)
    return {path: problem for path, problem in problems if problem is not None}


def _written(group: list[Action], outcome: Outcome) -> dict[str, bool]:
    """What was or may have been written in the repository (True: deleted)."""
    unknown = {p for p, error in outcome.failures.items() if isinstance(error, OutcomeUnknown)}
    touched = outcome.in_step.keys() | outcome.doubts.keys() | unknown
    return {
        action.path: action.act in DELETING_ACTS
        for action in group
        if action.act in REMOTE_ACTS and action.path in touched
    }


def _within(starts: Collection[str]) -> Callable[[str], bool]:
    """Whether a path is one of `starts` or lies below one."""

    def looked_at(path: str) -> bool:
        while path:
            if path in starts:
                return True
            path = path.rpartition("/")[0]
        return "" in starts

    return looked_at
