"""Random histories of two nodes on one repository: nothing that a node never saw is overwritten."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import looptime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmony_agent.core.errors import Unavailable
from tests.unit.sync.bench import Bench, quick_folder, running
from tests.unit.sync.memory_repository import MemoryRepository

NAMES = ("hosts/A.xml", "conf/Options.xml", "certs/c.cer")
NODES = (0, 1)

step = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NODES), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("remove"), st.sampled_from(NODES), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("wait"), st.just(0), st.just(""), st.integers(0, 400)),
    st.tuples(st.just("restart"), st.sampled_from(NODES), st.just(""), st.just(0)),
    st.tuples(st.just("new home"), st.sampled_from(NODES), st.just(""), st.just(0)),
    st.tuples(st.just("lose base"), st.sampled_from(NODES), st.just(""), st.just(0)),
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
        self.bench = self._new_bench()

    def _new_bench(self) -> Bench:
        self._pods += 1
        bench = Bench(self._folder / str(self._pods), self.repository)
        bench.write("conf/Options.xml", f"<Options image='{self._folder.name}{self._pods}'/>")
        bench.write("certs/c.cer", "stock")
        return bench

    def _before(self, operation: str, path: str) -> None:
        self._failing.before()
        self.seen.update(self.bench.owned().values())

    def _overwriting(self, path: str, content: bytes) -> None:
        if content not in self.seen:
            self.overwritten.append((path, content))

    async def start(self) -> None:
        """The agent starts; Harmony only once the first pull is done."""
        sync = await self._stack.enter_async_context(self.bench.configuration(list_interval=60))
        await sync.first_pull()
        self.seen.update(self.bench.owned().values())
        await self._stack.enter_async_context(running(sync))

    async def stop(self) -> None:
        """The agent ends without a last push."""
        await self._stack.aclose()

    def take_new_home(self) -> None:
        """A new pod: image files, no state."""
        self.bench = self._new_bench()

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


async def live(nodes: list[Node], history: History, faults: Faults) -> None:
    """Go through `history`, then let everything come to rest."""
    await asyncio.gather(*(node.start() for node in nodes))
    for serial, (what, number, path, amount) in enumerate(history):
        node = nodes[number]
        match what:
            case "write":
                text = f"<Host n='{serial}'/>" + " " * serial
                node.bench.write(path, text)
            case "remove" if (node.bench.home / path).exists():
                node.bench.remove(path)
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
    faults.failures = faults.lost_answers = 0
    await asyncio.sleep(300)
    for node in nodes:
        await node.stop()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(step, max_size=20))
def test_whatever_happens_differences_are_held_and_nothing_unseen_is_overwritten(
    history: History,
) -> None:
    """After quiet each node's files are the repository's or are held with a reason; no node ever
    replaced or deleted a version in the repository that was never in its home."""
    with (
        quick_folder() as folder,
        asyncio.Runner(loop_factory=looptime.new_event_loop) as runner,
    ):
        shared, faults = MemoryRepository(), Faults()

        async def whole() -> list[Node]:
            nodes = [Node(Path(folder, f"n{n}"), SharedRepository(shared), faults) for n in NODES]
            await live(nodes, history, faults)
            return nodes

        for node in runner.run(whole()):
            assert node.overwritten == []
            home, there = node.bench.owned(), shared.owned()
            different = {p for p in home.keys() | there.keys() if home.get(p) != there.get(p)}
            assert different == set(node.bench.section()["held"])
