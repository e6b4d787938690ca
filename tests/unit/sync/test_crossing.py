"""Files of a convoy cross side by side as each would alone, or all in one go."""

import asyncio

import pytest

from harmony_agent.core.errors import (
    Absent,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    Unavailable,
)
from harmony_agent.repositories.interface import Content
from harmony_agent.sync.applying.course import Course
from harmony_agent.sync.applying.crossing import crossing
from harmony_agent.sync.applying.turns import GivenUpError, Turns
from harmony_agent.sync.decisions.policies import Act
from tests.unit.sync.memory_repository import MemoryRepository

pytestmark = pytest.mark.looptime

FILES = [(f"certs/{number:02}", b"%d" % number) for number in range(40)]


class Lease:
    """The right to write."""

    def __init__(self) -> None:
        self.is_held = True

    def may_write(self) -> bool:
        """Whether it is held."""
        return self.is_held


def course(act: Act, lease: Lease, at_once: int = 4) -> Course:
    """Of a convoy; `at_once` of its files are under way at the same time."""
    return Course(act, Turns(at_once), lease.may_write)


@pytest.fixture
def repository() -> MemoryRepository:
    """One in which everything takes a second."""
    found = MemoryRepository()
    found.delay = 1.0
    return found


async def test_outcomes_come_in_order_and_each_file_has_its_own(
    repository: MemoryRepository,
) -> None:
    """A name that is taken, an answer that is lost, a version that is another, a file that is
    gone: the others are made, replaced and read."""
    repository.put("certs/01", b"theirs")
    repository.loses_answer = lambda _, path: path == "certs/03"
    lease = Lease()
    made = await crossing(repository, course(Act.CREATE, lease)).create_all(FILES[:6])
    assert [type(each) for each in made] == [str, PreconditionFailed, str, OutcomeUnknown, str, str]
    tokens = [(path, b"new", repository.files[path].token) for path, _ in FILES[:3]]
    repository.put("certs/02", b"theirs")
    replaced = await crossing(repository, course(Act.REPLACE, lease)).replace_all(tokens)
    assert [type(each) for each in replaced] == [str, str, PreconditionFailed]
    paths = ["certs/05", "certs/none", "certs/00"]
    read = await crossing(repository, course(Act.FETCH, lease)).read_all(paths)
    assert [type(each) for each in read] == [Content, Absent, Content]


async def test_so_many_cross_at_the_same_time_as_have_a_turn(repository: MemoryRepository) -> None:
    """Forty seconds of work, four at a time, take ten."""
    began = asyncio.get_running_loop().time()
    await crossing(repository, course(Act.CREATE, Lease())).create_all(FILES)
    assert asyncio.get_running_loop().time() - began == pytest.approx(10, abs=0.1)


async def test_who_waits_for_a_turn_does_not_write_once_the_lease_is_lost(
    repository: MemoryRepository,
) -> None:
    """What is under way ends as it ends; of the rest nothing is sent."""
    lease = Lease()

    def lose(operation: str, path: str) -> None:
        lease.is_held = lease.is_held and path != "certs/05"

    repository.before = lose
    made = await crossing(repository, course(Act.CREATE, lease)).create_all(FILES)
    sent = [path for (path, _), each in zip(FILES, made, strict=True) if type(each) is str]
    assert (
        sent == sorted(repository.owned()) == [path for path, _ in FILES[:8]]
    )  # four had a turn when it was lost
    assert all(isinstance(each, Unavailable) for each in made[8:])


async def test_when_hope_is_gone_the_rest_is_not_tried_and_nothing_is_broken_off(
    repository: MemoryRepository,
) -> None:
    """A repository that refuses everything hears of some files, not of all; who was not tried is
    told so."""

    def refuse(operation: str, path: str) -> None:
        raise Refused("read-only")

    repository.before = refuse
    made = await crossing(repository, course(Act.CREATE, Lease())).create_all(FILES)
    assert {type(each) for each in made} == {Refused, GivenUpError}
    tried = sum(isinstance(each, Refused) for each in made)
    assert 16 <= tried <= 16 + 4
    assert len(repository.calls) == tried


async def test_in_one_go_all_share_a_turn_and_its_end(repository: MemoryRepository) -> None:
    """Without the lease nothing is asked; otherwise it is one call, and the turn is given back."""
    repository.in_one_go = 64
    lease = Lease()
    whole = course(Act.CREATE, lease, at_once=1)
    assert len(await crossing(repository, whole).create_all(FILES)) == len(FILES)
    lease.is_held = False
    with pytest.raises(Unavailable, match="another owner"):
        await crossing(repository, whole.another()).create_all([("certs/x", b"")])
    assert "certs/x" not in repository.owned()


@pytest.mark.parametrize("in_one_go", [1, 64])
async def test_what_crossed_is_told_once(repository: MemoryRepository, in_one_go: int) -> None:
    """Fifteen failures leave hope, and are not told again with what became of them at home; an
    error of home's own is news."""
    repository.in_one_go = in_one_go

    def refuse(operation: str, path: str) -> None:
        raise Refused("read-only")

    repository.before = refuse
    turns = Turns(4)
    whole = Course(Act.CREATE, turns, Lease().may_write)
    made = await crossing(repository, whole).create_all(FILES[:15])
    assert all(whole.has_told(each) for each in made)
    assert whole.has_told(None)
    assert not turns.are_hopeless
    home = Unavailable("no space")
    assert not whole.has_told(home)
    whole.tell(home)
    assert turns.are_hopeless


def test_what_was_not_tried_is_no_failure() -> None:
    """Nor a success: hope stays as it was."""
    turns = Turns(4)
    for _ in range(15):
        turns.tell(Refused("read-only"))
    turns.tell(GivenUpError())
    assert not turns.are_hopeless
    turns.tell(Refused("read-only"))
    assert turns.are_hopeless
