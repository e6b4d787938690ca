"""Random histories of three nodes on one repository: all agree in the end, and nothing is lost.

Every version that Harmony or a person ever wrote ends as the present one, or was edited or deleted
by somebody who had it before him, or is kept: in the conflict store, or in a state directory.
"""

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path

import looptime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmony_agent.core.errors import Unavailable
from tests.unit.sync.bench import Bench, quick_folder
from tests.unit.sync.memory_repository import MemoryRepository

NAMES = ("hosts/A.xml", "conf/Options.xml", "certs/c.cer")
NODES = (0, 1, 2)
HELD = re.compile("more deletes than|only here, and no record says")
"""What the guard over deletes says, and then of the files that it kept in a new home."""

step = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NODES), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("remove"), st.sampled_from(NODES), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("wait"), st.just(0), st.just(""), st.integers(0, 400)),
    st.tuples(st.just("restart"), st.sampled_from(NODES), st.just(""), st.just(0)),
    st.tuples(st.just("new home"), st.sampled_from(NODES), st.just(""), st.just(0)),
    st.tuples(st.just("lose base"), st.sampled_from(NODES), st.just(""), st.just(0)),
    st.tuples(st.just("kill"), st.sampled_from(NODES), st.just(""), st.integers(1, 12)),
    st.tuples(st.just("foreign"), st.just(0), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("lose answers"), st.just(0), st.just(""), st.integers(0, 3)),
    st.tuples(st.just("fail"), st.just(0), st.just(""), st.integers(0, 3)),
)
History = list[tuple[str, int, str, int]]


class SharedRepository(MemoryRepository):
    """One node's view of a repository that others write as well."""

    def __init__(self, shared: MemoryRepository) -> None:
        super().__init__()
        self.files = shared.files
        self._tokens = shared._tokens
        self.in_one_go = shared.in_one_go


class Node:
    """A node whose pod can be restarted, and given a new home or new state."""

    def __init__(self, folder: Path, repository: MemoryRepository, failing: "Faults") -> None:
        self._folder = folder
        self._pods = 0
        self._stack = AsyncExitStack()
        self.repository = repository
        self.seen: set[bytes] = set()
        self.overwritten: list[tuple[str, bytes]] = []
        self.repository.before = self._before
        self.repository.overwriting = self._overwriting
        self.repository.loses_answer = failing.loses_answer
        self._failing = failing
        self._task: asyncio.Task[None] | None = None
        self._until_killed: int | None = None
        self.had: set[bytes] = set()  # what somebody edited or deleted here, having it before him
        self.gone: set[bytes] = set()  # with a volume that was lost
        self.homes: list[Bench] = []
        self.bench = self._new_bench()

    def _new_bench(self) -> Bench:
        self._pods += 1
        bench = Bench(self._folder / str(self._pods), self.repository, host=self._folder.name)
        bench.write("conf/Options.xml", f"<Options image='{self._folder.name}{self._pods}'/>")
        bench.write("certs/c.cer", "stock")
        self.homes.append(bench)
        return bench

    def _before(self, operation: str, path: str) -> None:
        self._failing.before()
        if self._until_killed is not None:
            self._until_killed -= 1
            if self._until_killed <= 0 and self._task is not None:
                self._until_killed = None
                self._task.cancel()
        self.seen.update(self.bench.owned().values())

    def _overwriting(self, path: str, content: bytes) -> None:
        if content not in self.seen and not path.startswith(".harmony-agent/"):
            self.overwritten.append((path, content))

    async def start(self) -> None:
        """The agent starts; Harmony only once the first pull is done."""
        sync = await self._stack.enter_async_context(self.bench.configuration(list_interval=60))
        await sync.take_on()
        self.seen.update(self.bench.owned().values())
        self._task = asyncio.create_task(sync.run())

    async def stop(self) -> None:
        """The agent ends without a last push."""
        self._until_killed = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._stack.aclose()

    def kill_after(self, operations: int) -> None:
        """The agent ends in the midst of what it does."""
        self._until_killed = operations

    def edit(self, path: str, text: str | None) -> None:
        """Harmony writes (None: deletes) a file, having its present version before it."""
        present = self._present(path)
        self.had.update(present)
        self.seen.update(present)
        if text is None:
            self.bench.remove(path)
        else:
            self.bench.write(path, text)

    def _present(self, path: str) -> list[bytes]:
        target = self.bench.home / path
        return [target.read_bytes()] if target.exists() else []

    def take_new_home(self) -> None:
        """A new pod: image files, no state."""
        self.gone.update(self.bench.owned().values(), self.bench.replaced().values())
        self.bench = self._new_bench()

    def kept(self) -> set[bytes]:
        """What was replaced in this home, and is kept in its state directory."""
        return set(self.bench.replaced().values())

    def lose_base(self) -> None:
        """The state directory is gone."""
        for path in self.bench.state.glob("sync-*"):
            path.unlink()


class Faults:
    """How many of the next operations fail, or lose their answer."""

    def __init__(self) -> None:
        self.failures = self.lost_answers = 0

    def before(self) -> None:
        """Fail if it is time to."""
        if self.failures:
            self.failures -= 1
            raise Unavailable("a moment")

    def loses_answer(self, operation: str, path: str) -> bool:
        """Whether this answer gets lost."""
        if self.lost_answers:
            self.lost_answers -= 1
            return True
        return False


async def act(
    node: Node, shared: MemoryRepository, faults: Faults, step: tuple[str, str, int], text: str
) -> None:
    """One step of a history at `node`."""
    what, path, amount = step
    match what:
        case "write":
            node.edit(path, text)
        case "remove" if (node.bench.home / path).exists():
            node.edit(path, None)
        case "foreign":
            if path in shared.files:
                node.had.add(shared.files[path].data)
            shared.put(path, text.encode())
        case "kill":
            node.kill_after(amount)
        case "wait":
            await asyncio.sleep(amount / 5)
        case "restart" | "new home" | "lose base":
            await node.stop()
            if what == "new home":
                node.take_new_home()
            if what == "lose base":
                node.lose_base()
            await node.start()
        case "lose answers":
            faults.lost_answers += amount
        case "fail":
            faults.failures += amount


async def live(
    nodes: list[Node], shared: MemoryRepository, history: History, faults: Faults
) -> set[bytes]:
    """Go through `history`, then let everything come to rest; all that was ever written."""
    written: set[bytes] = set()
    await asyncio.gather(*(node.start() for node in nodes))
    for serial, (what, number, path, amount) in enumerate(history):
        text = f"<Host n='{serial}'/>" + " " * serial
        await act(nodes[number], shared, faults, (what, path, amount), text)
        if what in ("write", "foreign"):
            written.add(text.encode())
    faults.failures = faults.lost_answers = 0
    for node in nodes:  # who was killed comes back
        await node.stop()
        await node.start()
    await asyncio.sleep(300)
    for node in nodes:
        await node.stop()
    return written


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(step, max_size=25), st.sampled_from([1, 3]))
def test_whatever_happens_all_agree_and_nothing_is_lost(history: History, in_one_go: int) -> None:
    """After quiet each node's files are the repository's (or held by the guard over deletes); no
    node ever ended a version in the repository that was never in its home; no version is lost."""
    with (
        quick_folder() as folder,
        asyncio.Runner(loop_factory=looptime.new_event_loop) as runner,
    ):
        shared, faults = MemoryRepository(), Faults()
        shared.in_one_go = in_one_go

        async def whole() -> tuple[list[Node], set[bytes]]:
            nodes = [Node(Path(folder, f"n{n}"), SharedRepository(shared), faults) for n in NODES]
            return nodes, await live(nodes, shared, history, faults)

        nodes, written = runner.run(whole())
        there = shared.owned()
        accounted = {*there.values(), *(data for _, data in shared.conflicts())}
        for node in nodes:
            assert node.overwritten == []
            home = node.bench.owned()
            different = {p for p in home.keys() | there.keys() if home.get(p) != there.get(p)}
            held = node.bench.section()["held"]
            assert different <= set(held)
            assert all(HELD.search(reason) for reason in held.values())
            accounted |= {*home.values(), *node.had, *node.gone, *node.kept()}
        assert written <= accounted
