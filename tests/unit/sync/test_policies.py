"""The table of all cases: what happens to a file, by what each side did to it."""

import pytest

from harmony_agent.repositories.interface import Token
from harmony_agent.sync.decisions.plan import Case, Circumstances, make_plan
from harmony_agent.sync.decisions.policies import FOUNDING, JOINING, REJOINING, TWO_WAY, Act
from harmony_agent.sync.decisions.states import BaseRow, LocalFile, RemoteFile

# home, base, repository (None: not there) -> beside a running Harmony, and with the base lost
BESIDE = [
    ("b", "a", "a", Act.REPLACE),
    ("a", "a", "b", Act.EXCHANGE),
    ("b", "a", "b", Act.ADOPT),
    ("b", "a", "c", Act.CEDE),
    (None, "a", "a", Act.DELETE),
    ("a", "a", None, Act.WITHDRAW),
    (None, "a", None, Act.FORGET),
    (None, "a", "b", Act.FETCH),
    ("b", "a", None, Act.CREATE),
    ("a", None, None, Act.CREATE),
    (None, None, "a", Act.FETCH),
    ("a", None, "a", Act.ADOPT),
    ("a", None, "b", Act.CEDE),
]
WITHOUT_BASE = [
    ("a", "a", Act.ADOPT, Act.ADOPT, Act.ADOPT),
    ("a", "b", Act.CEDE, Act.CEDE, Act.EXCHANGE),
    ("a", None, Act.RELEGATE, Act.CREATE, Act.WITHDRAW),
    (None, "a", Act.FETCH, Act.FETCH, Act.FETCH),
]


def case(here: str | None, known: str | None, there: str | None) -> Case:
    """A file with the contents given."""
    return Case(
        "hosts/A.xml",
        None if here is None else LocalFile(here, 1, 1, 1),
        None if known is None else BaseRow(known, 1, 1, 1, Token(known)),
        None if there is None else RemoteFile(Token(there), 1, there),
    )


def ordinary() -> Circumstances:
    """Nothing that would hold a file."""
    return Circumstances(known=100, max_delete=0.1, may_empty=False)


@pytest.mark.parametrize(("here", "known", "there", "act"), BESIDE)
def test_beside_a_running_harmony(
    here: str | None, known: str | None, there: str | None, act: Act
) -> None:
    """Each row of the table in the two-way phase."""
    plan = make_plan([case(here, known, there)], TWO_WAY, ordinary())
    assert [action.act for action in plan.actions] == [act]


@pytest.mark.parametrize(("here", "there", "rejoining", "founding", "joining"), WITHOUT_BASE)
def test_a_home_without_a_base(
    here: str | None, there: str | None, rejoining: Act, founding: Act, joining: Act
) -> None:
    """Each row where Harmony ran and the repository is known, new, or where Harmony never ran."""
    for policy, act in ((REJOINING, rejoining), (FOUNDING, founding), (JOINING, joining)):
        plan = make_plan([case(here, None, there)], policy, ordinary())
        assert [action.act for action in plan.actions] == [act], policy.name


def test_founding_deletes_nothing_in_home() -> None:
    """Whatever a new repository lacks is put there, also what it held a moment ago."""
    plan = make_plan([case("a", "a", None)], FOUNDING, ordinary())
    assert [action.act for action in plan.actions] == [Act.CREATE]
