"""What configuration sync and runtime mirror are both made of, and how a home is taken on."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import AgentError, Unavailable, Unsupported
from harmony_agent.core.threads import Workers
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.interface import Repository
from harmony_agent.sync.applying.transfers import Transfers
from harmony_agent.sync.base import Base
from harmony_agent.sync.conflicts.store import ConflictStore
from harmony_agent.sync.decisions.paths import Ownership
from harmony_agent.sync.decisions.policies import Act, Policy
from harmony_agent.sync.engine import Engine, Limits, Report
from harmony_agent.sync.home.files import HomeFiles
from harmony_agent.sync.home.mark import HomeMark
from harmony_agent.sync.home.scan import Care, Scanner
from harmony_agent.sync.home.settling import Settling
from harmony_agent.sync.home.watch import HintSource, Watcher
from harmony_agent.sync.keeper import Keeper, Timing
from harmony_agent.sync.markers.bulletin import Bulletin
from harmony_agent.sync.progress import Progress
from harmony_agent.sync.status import Status

__all__ = ["REAL_TOOLS", "Character", "Places", "Side", "Start", "Tools"]

T = TypeVar("T")

_FILE_THREADS: Final = 4  # reading and syncing files overlaps; more threads cost memory
_LIMIT: Final = 60.0  # seconds for reading or writing the mark
_CEILING: Final = 30.0
_REFUSED_CEILING: Final = 60.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are: Harmony's home, the state directory, the repository of this side."""

    home: Path
    state_dir: Path
    repository: Repository

    @property
    def kept(self) -> Path:
        """Where what is replaced or removed in home is kept."""
        return self.state_dir / "replaced"


@dataclass(frozen=True, slots=True)
class Character:
    """What tells one side from the other, besides its policies."""

    name: str
    ownership: Ownership
    limits: Limits
    timing: Timing
    holds_xml: bool


@dataclass(frozen=True, slots=True)
class Tools:
    """What tests replace: threads, clock, hints. None: the real ones."""

    files: Workers | None = None
    base: Workers | None = None
    hints: HintSource | None = None
    clock: Callable[[], float] = time.monotonic


REAL_TOOLS: Final = Tools()


@dataclass(frozen=True, slots=True)
class Start:
    """How a home is found: `known` means that its first pull was completed with this very base;
    `used` that a first pull was completed in it before, so that Harmony may have run here."""

    known: bool
    used: bool


class Side:
    """One side's engine with all it stands on. Must be made in the event loop it is used in."""

    def __init__(
        self,
        character: Character,
        places: Places,
        health: Health,
        *,
        may_write: Callable[[], bool],
        check: Callable[[], Awaitable[None]],
        tools: Tools,
        conflicts: ConflictStore | None = None,
        bulletin: Bulletin | None = None,
    ) -> None:
        name = character.name
        self._name = name
        self._files = tools.files or Workers(f"sync-{name}", _FILE_THREADS)
        self._rows = tools.base or Workers(f"sync-{name}-base", 1)
        self._hints = tools.hints or Watcher(places.home, name, character.ownership.concerns)
        self.is_pulled = False
        self._settle = character.timing.settle
        self._mark = HomeMark(places.home, name)
        self.base = Base(places.state_dir, name, self._rows)
        self._progress = Progress(name, beat=self._beat, clock=tools.clock)
        self.status = Status(name, health, self._progress)
        self.files = HomeFiles(places.home, places.kept)
        self.transfers = Transfers(
            repository=places.repository,
            files=self.files,
            workers=self._files,
            on_progress=self._progress.moved,
        )
        scanner = Scanner(
            places.home,
            character.ownership,
            settling=Settling(character.timing.settle, clock=tools.clock),
            holds_xml=character.holds_xml,
            enter=self._hints.enter,
        )
        self.engine = Engine(
            name,
            ownership=character.ownership,
            scanner=scanner,
            files=self.files,
            transfers=self.transfers,
            mark=self._mark,
            repository=places.repository,
            conflicts=conflicts,
            base=self.base,
            workers=self._files,
            limits=character.limits,
            may_write=may_write,
            progress=self._progress,
            clock=tools.clock,
        )
        self.keeper = Keeper(
            name,
            engine=self.engine,
            hints=self._hints,
            status=self.status,
            health=health,
            timing=character.timing,
            check=check,
            bulletin=bulletin,
            clock=tools.clock,
        )

    async def begin(self) -> Start:
        """Open the base and see whether it is of this home; if not, start anew.

        Raises Unavailable or Refused if base or home can't be used.
        """
        await self.base.open()
        pulled = await self.base.meta("pulled") is not None
        is_of_this_home = await self._files.run(
            _LIMIT, self._mark.begin, await self.base.identity()
        )
        used = await self._files.run(_LIMIT, self._mark.was_completed)
        if not is_of_this_home:
            await self.start_anew(used=used)
        self.is_pulled = is_of_this_home and pulled
        return Start(known=self.is_pulled, used=used)

    async def start_anew(self, *, used: bool) -> None:
        """Forget what home and repository agreed on; `used`: Harmony may have run in this home.

        Raises Unavailable or Refused if base or home can't be used.
        """
        self.is_pulled = False
        identity = await self.engine.start_anew()
        await self._files.run(_LIMIT, self._mark.put, identity, complete=used)

    async def complete(self) -> None:
        """Remember, in base and home, that the first pull is done."""
        await self.base.set_meta("pulled", "1")
        identity = await self.base.identity()
        await self._files.run(_LIMIT, self._mark.put, identity, complete=True)
        self.is_pulled = True

    async def work_until_done(self, policy: Policy, care: Care, *, again: bool) -> Report:
        """Bring everything in step by `policy`; with `again` until a new listing shows no more.

        The report tells of all rounds. Raises the first error of a file that could not be dealt
        with, except for names that home or repository can't hold: they must not keep Harmony down.
        """
        done: dict[str, Act] = {}
        while True:
            await self.engine.saw_repository(await self.engine.list_repository())
            await self.engine.look_home(None, care)
            report = await self.engine.work(policy, care)
            self.status.finished(report, None)
            failures = [e for e in report.failures.values() if not isinstance(e, Unsupported)]
            if failures:
                raise failures[0]
            done.update(report.done)
            pending = report.pending - report.failures.keys()
            if pending and pending == report.plan.waiting:
                raise Unavailable("this host's folder is not ours to write at the moment")
            if not pending and not (again and report.done):
                report.done = done
                return report
            if pending:
                await asyncio.sleep(self._settle)

    async def retry_for_ever(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Make `attempt` until it succeeds; what hinders is told and shown."""
        backoff = Backoff(first=0.5, ceiling=_CEILING)
        refused = Backoff(first=2.0, ceiling=_REFUSED_CEILING)
        while True:
            self.status.began()
            try:
                return await attempt()
            except Unavailable as error:
                self.status.failed(error)
                await asyncio.sleep(backoff.next(error.retry_after))
            except AgentError as error:
                self.status.failed(error)
                await asyncio.sleep(refused.next())

    async def flush(self, policy: Policy, limit: float) -> int:
        """Keeper.flush; nothing is pushed from a home whose first pull is not done."""
        if not self.is_pulled:
            return 0
        self.status.enter("flushing")
        return await self.keeper.flush(policy, limit)

    async def once(self, policy: Policy, *, dry_run: bool, accept_deletes: bool) -> dict[str, Any]:
        """Keeper.once; raises Unavailable as well while the first pull is not done."""
        if not self.is_pulled:
            raise Unavailable("the first pull is not done yet; try again later")
        return await self.keeper.once(policy, dry_run=dry_run, accept_deletes=accept_deletes)

    async def in_thread(self, limit: float, call: Callable[..., T], *arguments: object) -> T:
        """Run a blocking `call` on local files, for at most `limit` seconds."""
        return await self._files.run(limit, call, *arguments)

    async def close(self) -> None:
        """Give back threads, watches and the database."""
        self._hints.close()
        await self.base.close()
        self._files.close()
        self._rows.close()

    def _beat(self) -> None:
        self.keeper.beat()
