"""Policies, the guard over deletes, and the order of actions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.repositories.interface import Token
from harmony_agent.sync.decisions import policies
from harmony_agent.sync.decisions.compare import Decision
from harmony_agent.sync.decisions.plan import (
    Action,
    Case,
    Circumstances,
    deletes_allowed,
    first_of,
    in_order,
    make_plan,
)
from harmony_agent.sync.decisions.policies import Act, Policy
from harmony_agent.sync.decisions.states import BaseRow, LocalFile, Obstacle, RemoteFile

A, B = "a" * 64, "b" * 64
ALL = [
    getattr(policies, name)
    for name in policies.__all__
    if isinstance(getattr(policies, name), Policy)
]
SHARED = [policies.TWO_WAY, policies.REJOINING, policies.FOUNDING]
MIRRORS = [policies.MIRROR, policies.RECLAIM, policies.RESTORE]


def case(path: str, here: str | None, known: str | None, there: str | None) -> Case:
    """A file with the contents given (None: not there)."""
    return Case(
        path,
        None if here is None else LocalFile(here, 1, 1, 1),
        None if known is None else BaseRow(known, 1, 1, 1, Token(known)),
        None if there is None else RemoteFile(Token(there), 1, there),
    )


def now(known: int = 1000, **more: object) -> Circumstances:
    """Ordinary circumstances."""
    return Circumstances(known, 0.1, may_empty=False, **more)  # type: ignore[arg-type]  # test data


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.name)
def test_every_policy_answers_every_decision(policy: Policy) -> None:
    """But for the two that never reach it: nothing to do, and an obstacle."""
    for decision in set(Decision) - {Decision.NOTHING, Decision.HOLD}:
        assert policy.verdict(decision).act is not Act.HOLD or policy.verdict(decision).reason


@pytest.mark.parametrize("policy", SHARED, ids=lambda policy: policy.name)
def test_what_only_home_has_is_kept_for_all_before_it_goes(policy: Policy) -> None:
    """Where Harmony may have run, content that nobody else has goes to the conflict store."""
    for decision in (Decision.CONFLICT, Decision.LOCAL_NEW, Decision.LOCAL_CHANGED):
        assert policy.verdict(decision).act not in (Act.EXCHANGE, Act.WITHDRAW)


@pytest.mark.parametrize("policy", MIRRORS, ids=lambda policy: policy.name)
def test_a_mirror_never_touches_a_file_that_is_in_home(policy: Policy) -> None:
    """Of this host's own folder home is the truth."""
    acts = {verdict.act for verdict in policy.table.values()}
    assert acts.isdisjoint({Act.EXCHANGE, Act.WITHDRAW, Act.CEDE, Act.RELEGATE})


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.name)
def test_no_policy_replaces_remote_content_it_has_not_seen(policy: Policy) -> None:
    """Replacing or deleting there without setting aside is only for what equals the base."""
    for decision in (Decision.REMOTE_CHANGED, Decision.REMOTE_OUTLIVES, Decision.CONFLICT):
        assert policy.verdict(decision).act not in (Act.REPLACE, Act.DELETE, Act.CREATE)


@pytest.mark.parametrize(
    ("wanted", "known", "may_empty", "allowed"),
    [
        (20, 100, False, True),
        (21, 100, False, False),
        (100, 1000, False, True),
        (101, 1000, False, False),
        (3, 3, False, False),
        (3, 3, True, True),
        (0, 0, True, True),
    ],
)
def test_the_share_of_deletes(wanted: int, known: int, may_empty: bool, allowed: bool) -> None:
    """A tenth of the files or twenty; all of them only where that is ordinary."""
    assert deletes_allowed(wanted, known, 0.1, may_empty=may_empty) is allowed


def test_too_many_deletes_are_held_and_copies_go_on() -> None:
    """The guard concerns deletes alone, counts those that still wait, and can be overridden."""
    cases = [case(f"certs/{n}", None, A, A) for n in range(25)]
    cases.append(case("hosts/x.xml", B, A, A))
    gone_for = {f"certs/{n}": 60.0 for n in range(15)}
    plan = make_plan(cases, policies.TWO_WAY, now(known=100, delete_after=30, gone_for=gone_for))
    assert [a.path for a in plan.actions] == ["hosts/x.xml"]
    assert len(plan.held) == 25
    plan = make_plan(cases, policies.TWO_WAY, now(known=100, accept_deletes=True))
    assert len(plan.actions) == 26


def test_a_delete_waits_until_the_file_stayed_away() -> None:
    """Those not gone for long enough are told with the seconds that are left."""
    cases = [case("certs/old", None, A, A), case("certs/young", None, A, A)]
    gone_for = {"certs/old": 30.0, "certs/young": 10.0}
    plan = make_plan(cases, policies.TWO_WAY, now(delete_after=30, gone_for=gone_for))
    assert [a.path for a in plan.actions] == ["certs/old"]
    assert plan.unsure == {"certs/young": 20.0}


def test_a_remote_delete_waits_until_it_is_confirmed() -> None:
    """A file that a listing lacks stays in home; those confirmed go."""
    cases = [case("certs/gone", A, A, None), case("certs/perhaps", A, A, None)]
    plan = make_plan(cases, policies.TWO_WAY, now(missing_for={"certs/perhaps": 12.0}))
    assert [(a.act, a.path) for a in plan.actions] == [(Act.WITHDRAW, "certs/gone")]
    assert plan.unconfirmed == {"certs/perhaps": 12.0}


def test_deletes_of_both_directions_count_together() -> None:
    """A little here and a little there is a lot: the guard sees the sum."""
    here = [case(f"certs/{n}", None, A, A) for n in range(12)]
    there = [case(f"data/{n}", A, A, None) for n in range(12)]
    plan = make_plan([*here, *there], policies.TWO_WAY, now(known=100))
    assert not plan.actions and len(plan.held) == 24


def test_a_twin_is_held_and_names_the_other() -> None:
    """A new file whose name the repository can't tell from another's stays home, with an alarm."""
    plan = make_plan(
        [case("hosts/a.xml", A, None, None)],
        policies.TWO_WAY,
        now(twins={"hosts/a.xml": "hosts/A.xml"}),
    )
    held = plan.held["hosts/a.xml"]
    assert held.alarm and "hosts/A.xml" in held.reason


@pytest.mark.parametrize("policy", [policies.TWO_WAY, policies.FIRST_NODE, policies.REJOINING])
@pytest.mark.parametrize("accept_deletes", [False, True])
def test_a_name_the_repository_can_not_hold_is_held(
    policy: policies.Policy, accept_deletes: bool
) -> None:
    """Whether it would be created or kept in the conflict store; edits and deletes of what is
    there already are no question of the name."""
    cases = [case("certs/a:b", A, None, None), case("certs/c:d", B, A, A)]
    unfit = {"certs/a:b": "no colons", "certs/c:d": "no colons"}
    plan = make_plan(cases, policy, now(unfit=unfit, accept_deletes=accept_deletes))
    assert plan.held == {"certs/a:b": policies.Verdict(Act.HOLD, "no colons", alarm=True)}
    assert [(a.act, a.path) for a in plan.actions] == [(Act.REPLACE, "certs/c:d")]


def test_nothing_is_done_behind_an_obstacle() -> None:
    """What is written below a folder that is a link would end up elsewhere: it is held, with the
    link's reason, whatever would be done; neighbors are not."""
    link = Case("certs", Obstacle("is a link"), None, None)
    hidden = [
        case("certs/new", None, None, B),
        case("certs/deep/changed", A, A, B),
        case("certs/gone", A, A, None),
    ]
    plan = make_plan([*hidden, case("certs2/a", A, None, None), link], policies.TWO_WAY, now())
    assert plan.held.keys() == {"certs", *(c.path for c in hidden)}
    assert plan.held["certs/new"].reason == "lies below certs, which is a link"
    assert [a.path for a in plan.actions] == ["certs2/a"]


def test_without_the_lease_the_repository_is_not_written() -> None:
    """Acts on the repository are held, those on home go on."""
    cases = [case("a", A, None, None), case("b", None, None, A), case("c", None, A, A)]
    plan = make_plan(cases, policies.RESTORE, now(may_write=False))
    assert [(a.act, a.path) for a in plan.actions] == [(Act.FETCH, "b")]
    assert set(plan.held) == {"a", "c"}


def test_what_is_kept_back_travels_once_it_is_edited() -> None:
    """The hold is on one content of the file, not on its name."""
    cases = [case("same", A, None, None), case("edited", B, None, None)]
    plan = make_plan(cases, policies.TWO_WAY, now(kept_back={"same": A, "edited": A}))
    assert [a.path for a in plan.actions] == ["edited"]
    assert set(plan.held) == {"same"}


def test_obstacles_are_held_or_waited_for() -> None:
    """What passes by itself is looked at again; the rest needs a person."""
    cases = [
        Case("writing", Obstacle("is being written", passing=True), None, None),
        Case("link", Obstacle("is a link"), None, None),
    ]
    plan = make_plan(cases, policies.TWO_WAY, now())
    assert plan.restless == ["writing"]
    assert plan.held["link"].alarm


paths = st.sampled_from(["certs/a", "data/b", "conf/Options.xml", "hosts/c.xml", "AS2/data/d"])


@given(st.lists(st.tuples(st.sampled_from([Act.CREATE, Act.DELETE, Act.FETCH]), paths), max_size=8))
def test_what_is_referred_to_arrives_first_and_leaves_last(wanted: list[tuple[Act, str]]) -> None:
    """Certificates before options before hosts; deletes after everything, the other way round."""
    actions = [Action(act, case(path, A, None, None)) for act, path in wanted]
    groups = in_order(actions)
    flat = [(a.act is Act.DELETE, a.path.split("/")[0]) for group in groups for a in group]
    assert len(flat) == len(wanted)
    rank = {"certs": 0, "data": 1, "conf": 2, "AS2": 2, "hosts": 3}
    keys = [(gone, -rank[top] if gone else rank[top]) for gone, top in flat]
    assert keys == sorted(keys)


def test_a_round_takes_some_of_each_direction_in_order() -> None:
    """However much there is to pull, what is to be pushed gets its turn; what is referred to still
    comes first."""
    empty = case("x", None, None, None)
    pulls = [Action(Act.FETCH, empty._replace(path=f"certs/{number}")) for number in range(5)]
    pushes = [Action(Act.REPLACE, empty._replace(path=f"hosts/{number}")) for number in range(3)]
    groups = in_order([*pushes, *pulls])
    taken = [[action.path for action in group] for group in first_of(groups, 2)]
    assert taken == [["certs/0", "certs/1"], ["hosts/0", "hosts/1"]]
    assert first_of(groups, None) == groups
