"""Small files travel together: as fast as can be, each with its own fate all the same."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from harmony_agent.core.errors import AgentError, OutcomeUnknown, Unavailable
from harmony_agent.repositories.interface import Content
from harmony_agent.repositories.token import Token
from harmony_agent.sync.applying.convoys import convoys
from harmony_agent.sync.decisions.plan import Action, Case
from harmony_agent.sync.decisions.policies import Act
from harmony_agent.sync.decisions.states import BaseRow, LocalFile, RemoteFile
from tests.unit.sync.bench import Bench, running
from tests.unit.sync.memory_repository import MemoryRepository

Node = Callable[[str], Bench]

MIB = 1024 * 1024


def action(act: Act, path: str, size: int = 10) -> Action:
    """One that moves `size` bytes; home's version is what both sides agreed on."""
    local, token = LocalFile("", size, 1, 1), Token("t")
    return Action(act, Case(path, local, BaseRow.of(local, token), RemoteFile(token, size)))


def paths(actions: Sequence[Action], most: int) -> list[str]:
    """Which travel together."""
    return ["".join(each.path for each in convoy) for convoy in convoys(actions, most)]


@pytest.mark.parametrize(
    ("act", "other"),
    [(Act.CREATE, Act.FETCH), (Act.REPLACE, Act.EXCHANGE), (Act.EXCHANGE, Act.LOOK)],
    ids=["new", "edited", "edits that arrive"],
)
def test_small_files_that_go_the_same_way_travel_together(act: Act, other: Act) -> None:
    """In order, as many as the repository takes; each direction by itself."""
    actions = [action(act, path) for path in "abcde"]
    actions[2:2] = [action(other, path) for path in "xy"]
    assert sorted(paths(actions, 3)) == ["abc", "de", "xy"]


def test_what_is_large_or_deleted_goes_alone() -> None:
    """The others do not wait for it."""
    actions = [
        action(Act.CREATE, "a"),
        action(Act.CREATE, "b", MIB),
        action(Act.REPLACE, "c", MIB),
        action(Act.DELETE, "d"),
        action(Act.CREATE, "e"),
    ]
    assert sorted(paths(actions, 64)) == ["ae", "b", "c", "d"]


def test_a_small_file_that_replaces_a_large_one_goes_alone() -> None:
    """The large one is read before it is replaced, which takes its time."""
    old, small = LocalFile("", MIB, 1, 1), RemoteFile(Token("t"), 10)
    large = Action(Act.EXCHANGE, Case("b", old, BaseRow.of(old, Token("o")), small))
    actions = [action(Act.EXCHANGE, "a"), large, action(Act.EXCHANGE, "c")]
    assert sorted(paths(actions, 64)) == ["ac", "b"]


def test_a_convoy_takes_a_bounded_amount_of_memory() -> None:
    """However many files it might hold by number."""
    actions = [action(Act.FETCH, "x", MIB // 4) for _ in range(40)]
    assert max(len(convoy) for convoy in convoys(actions, 64)) == 16
    assert sum(len(convoy) for convoy in convoys(actions, 64)) == 40


def test_a_repository_that_takes_files_one_by_one_gets_convoys_as_well() -> None:
    """They share what they need at home."""
    actions = [action(Act.CREATE, f"{number}") for number in range(260)]
    assert [len(convoy) for convoy in convoys(actions, 1)] == [128, 128, 4]


class OneGo(MemoryRepository):
    """Takes files together; counts how often, and can lose the answer to all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.in_one_go = 8
        self.goes: list[int] = []
        self.answers = True

    async def create_all(self, files: Sequence[tuple[str, bytes]]) -> Sequence[Token | AgentError]:
        """See Repository."""
        self.goes.append(len(files))
        made = await super().create_all(files)
        if not self.answers:
            raise OutcomeUnknown("no answer")
        return made

    async def replace_all(
        self, files: Sequence[tuple[str, bytes, Token]]
    ) -> Sequence[Token | AgentError]:
        """See Repository."""
        self.goes.append(len(files))
        made = await super().replace_all(files)
        if not self.answers:
            raise OutcomeUnknown("no answer")
        return made

    async def read_all(self, paths: Sequence[str]) -> Sequence[Content | AgentError]:
        """See Repository."""
        self.goes.append(len(paths))
        return await super().read_all(paths)


@pytest.fixture
def repository() -> OneGo:
    """One that takes eight files at a time."""
    return OneGo()


@pytest.mark.looptime
async def test_first_push_and_first_pull_go_in_convoys(node: Node, repository: OneGo) -> None:
    """All files arrive, in an eighth of the calls, and a second look finds nothing to do."""
    first, second = node("first"), node("second")
    for number in range(20):
        first.write(f"certs/{number}", str(number))
    for bench in (first, second):
        repository.goes.clear()
        async with bench.configuration() as sync:
            await sync.take_on()
            assert sorted(repository.goes) == [4, 8, 8]
            async with running(sync):
                await asyncio.sleep(400)
    assert second.owned() == first.owned() == repository.owned()
    assert len(repository.owned()) == 20


@pytest.mark.looptime
async def test_many_edits_go_in_convoys(node: Node, repository: OneGo) -> None:
    """A mass change reaches the repository in an eighth of the calls, and the other node; of an
    edit on both sides the accepted one wins and the other is kept."""
    first, second = node("first"), node("second")
    for number in range(20):
        first.write(f"certs/{number}", str(number))
    async with first.configuration() as one, second.configuration() as two:
        await one.take_on()
        await two.take_on()
        for number in range(20):
            first.write(f"certs/{number}", f"edited {number}")
        repository.goes.clear()
        assert await one.flush(10) == 0
        assert sorted(repository.goes) == [4, 8, 8]
        second.write("certs/7", "edited here, too")
        async with running(two):
            await asyncio.sleep(400)
    assert second.owned() == first.owned() == repository.owned()
    assert set(repository.owned().values()) == {f"edited {n}".encode() for n in range(20)}
    assert repository.conflicts() == [("certs/7", b"edited here, too")]
    assert second.replaced() == {}, "what others have is not kept"


@pytest.mark.looptime
async def test_edits_whose_answer_is_lost_are_looked_for(node: Node, repository: OneGo) -> None:
    """Each is recognized as our own: none is sent twice, none is a conflict."""
    pod = node("pod")
    for name in "abcd":
        pod.write(f"certs/{name}", name)
    async with pod.configuration() as sync:
        await sync.take_on()
        repository.goes.clear()
        async with running(sync):
            await asyncio.sleep(5)
            repository.answers = False
            for name in "abcd":
                pod.write(f"certs/{name}", name * 2)
            await asyncio.sleep(10)
            repository.answers = True
            await asyncio.sleep(60)
    assert repository.owned() == {f"certs/{name}": (name * 2).encode() for name in "abcd"}
    assert repository.conflicts() == []
    assert sum(path.startswith("certs/") for op, path in repository.calls if op == "replace") == 4


@pytest.mark.looptime
async def test_an_edit_that_another_was_faster_with_stops_no_other_of_its_convoy(
    node: Node, repository: OneGo
) -> None:
    """The others are in step at once; that one is a conflict, and its loser is kept."""
    pod = node("pod")
    for name in "abcd":
        pod.write(f"certs/{name}", name)

    def foreign(operation: str, path: str) -> None:
        if operation == "replace" and path == "certs/b":
            repository.put(path, b"theirs")
            repository.before = lambda operation, path: None

    async with pod.configuration() as sync, running(sync):
        await asyncio.sleep(5)
        repository.before = foreign
        for name in "abcd":
            pod.write(f"certs/{name}", name * 2)
        await asyncio.sleep(10)
    expected = {**{f"certs/{name}": (name * 2).encode() for name in "acd"}, "certs/b": b"theirs"}
    assert repository.owned() == pod.owned() == expected
    assert repository.conflicts() == [("certs/b", b"bb")]


@pytest.mark.looptime
async def test_what_is_only_compared_is_read_in_convoys(node: Node, repository: OneGo) -> None:
    """A home that holds the files already agrees with the repository without moving any."""
    pod = node("pod")
    for number in range(20):
        pod.write(f"certs/{number}", str(number))
        repository.put(f"certs/{number}", str(number).encode())
    repository.put(".harmony-agent/repo-id", b"0123456789abcdef0123456789abcdef")
    before = dict(repository.owned())
    async with pod.configuration() as sync:
        await sync.take_on()
    assert sorted(repository.goes) == [4, 8, 8]
    assert repository.owned() == pod.owned() == before
    assert pod.replaced() == {}


@pytest.mark.looptime
async def test_one_file_that_can_not_travel_stops_no_other_of_its_convoy(
    node: Node, repository: OneGo
) -> None:
    """The others are in step at once; it comes as soon as it can."""
    pod = node("pod")
    for name in "abcd":
        pod.write(f"AS2/mdn/{name}", name)

    def fail(operation: str, path: str) -> None:
        if operation == "create" and path == "AS2/mdn/b":
            raise Unavailable("not now")

    repository.before = fail
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(5)
        assert repository.owned().keys() == {f"AS2/mdn/{name}" for name in "acd"}
        repository.before = lambda operation, path: None
        await asyncio.sleep(60)
    assert repository.owned().keys() == {f"AS2/mdn/{name}" for name in "abcd"}
    for name in "acd":
        assert repository.calls.count(("create", f"AS2/mdn/{name}")) == 1


@pytest.mark.looptime
async def test_a_convoy_whose_answer_is_lost_is_looked_for(node: Node, repository: OneGo) -> None:
    """Each file is recognized as our own: none is sent twice, none is set aside."""
    pod = node("pod")
    async with pod.runtime() as mirror, running(mirror):
        await asyncio.sleep(5)
        repository.answers = False
        for name in "abcd":
            pod.write(f"AS2/mdn/{name}", name)
        await asyncio.sleep(10)
        repository.answers = True
        await asyncio.sleep(60)
    assert repository.owned() == {f"AS2/mdn/{name}": name.encode() for name in "abcd"}
    assert repository.kept() == []
    assert repository.count("create") == 4
    assert repository.goes == [4, 4], "made, and read again in one go"
