"""Random histories: whatever happens, in the end both sides agree and nothing accepted is lost."""

import asyncio
from pathlib import Path

import looptime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmony_agent.core.errors import Unavailable
from tests.unit.sync.bench import Bench, quick_folder, running

NAMES = ("AS2/data/1", "AS2/data/2", "AS2/mdn/sent/3", "OFTP/restart/4")

step = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(0, 9)),
    st.tuples(st.just("silent write"), st.sampled_from(NAMES), st.integers(0, 9)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("wait"), st.just(""), st.integers(0, 40)),
    st.tuples(st.just("restart"), st.just(""), st.just(0)),
    st.tuples(st.just("lose answers"), st.just(""), st.integers(0, 3)),
    st.tuples(st.just("fail"), st.just(""), st.integers(0, 3)),
    st.tuples(st.just("foreign"), st.sampled_from(NAMES), st.integers(0, 9)),
    st.tuples(st.just("lose base"), st.just(""), st.just(0)),
)
History = list[tuple[str, str, int]]


class World:
    """One node under a random history, which checks each overwriting in the repository."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.foreign: set[bytes] = set()
        self.written: dict[str, bytes] = {}  # as Harmony left it
        self.lost: list[tuple[str, bytes]] = []
        self._seen_in_home: set[bytes] = set()
        self._lost_answers = self._failures = 0
        self._serial = 0
        repository = self.bench.repository
        repository.before = self._before
        repository.overwriting = self._overwriting
        repository.loses_answer = self._loses

    def _before(self, operation: str, path: str) -> None:
        if self._failures:
            self._failures -= 1
            raise Unavailable("a moment")
        self._seen_in_home.update(self.bench.owned().values())

    def _overwriting(self, path: str, content: bytes) -> None:
        if content in self.foreign - {*self.bench.repository.kept(), *self._seen_in_home}:
            self.lost.append((path, content))

    def _loses(self, operation: str, path: str) -> bool:
        if self._lost_answers:
            self._lost_answers -= 1
            return True
        return False

    async def live(self, history: History) -> None:
        """Go through `history`, then let everything come to rest."""
        rest = list(history)
        while rest:
            async with self.bench.runtime(list_interval=30) as mirror, running(mirror):
                while rest and (action := rest.pop(0))[0] not in ("restart", "lose base"):
                    await self._act(*action)
            if action[0] == "lose base":
                for path in self.bench.state.glob("sync-*"):
                    path.unlink()
        self._failures = self._lost_answers = 0
        async with self.bench.runtime(list_interval=30) as mirror, running(mirror):
            await asyncio.sleep(300)

    async def _act(self, what: str, path: str, number: int) -> None:
        self._serial += 1
        text = f"{self._serial}:" + "x" * number
        match what:
            case "write":
                self.bench.write(path, text)
                self.written[path] = text.encode()
            case "silent write":
                self.bench.write(path, text)
                self.bench.hints.forget(path)
                self.written[path] = text.encode()
            case "remove" if (self.bench.home / path).exists():
                self.bench.remove(path)
                self.written.pop(path, None)
            case "wait":
                await asyncio.sleep(number / 4)
            case "lose answers":
                self._lost_answers += number
            case "fail":
                self._failures += number
            case "foreign":
                content = f"foreign {text}".encode()
                self.foreign.add(content)
                self.bench.repository.put(path, content)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(step, max_size=25), st.sampled_from([1, 3]))
def test_after_quiet_the_mirror_holds_home_and_nothing_a_stranger_wrote_is_lost(
    history: History, in_one_go: int
) -> None:
    """Home is as Harmony left it, the repository holds all of it (and what a stranger added), and
    no stranger's version was overwritten without being kept."""
    with (
        quick_folder() as folder,
        asyncio.Runner(loop_factory=looptime.new_event_loop) as runner,
    ):
        world = World(Path(folder))
        world.bench.repository.in_one_go = in_one_go
        runner.run(world.live(history))
        home, there = world.bench.owned(), world.bench.repository.owned()
        assert {path: home.get(path) for path in world.written} == world.written
        assert {path: there.get(path) for path in home} == home
        unknown = [home[p] for p in home.keys() - world.written.keys()]
        unknown += [there[p] for p in there.keys() - home.keys()]
        assert set(unknown) <= world.foreign
        assert world.lost == []
