"""Single transitions of the state machine that random histories seldom meet."""

from dataclasses import replace

import pytest

from harmony_agent.license.classify import Fault, Meaning, Refusal, Unreached, Verified
from harmony_agent.license.clock import Moment
from harmony_agent.license.machine import (
    Effect,
    History,
    LetRun,
    OpenTicket,
    Policy,
    SendMail,
    Standing,
    State,
    Stop,
    Surroundings,
    forget_license,
    goes_on,
    judge,
    remaining,
    seconds_to_next_event,
    tick,
)
from harmony_agent.license.record import (
    EMPTY,
    Outage,
    OutageKind,
    Record,
    Rejection,
    Success,
    merge,
)

HOUR = 3600.0
NOW = 1_900_000_000.0
POLICY = Policy(grace=96 * HOUR, interval=24 * HOUR, retry=900.0)
CLEO = Unreached(Fault.CLEO, "timed-out", "no answer")
CUSTOMER = Unreached(Fault.CUSTOMER, "proxy", "no way out")


def around(hours: float = 0.0, history: History = History.KNOWN) -> Surroundings:
    """So many hours later."""
    moment = Moment(NOW + hours * HOUR, 100.0 + hours * HOUR, "boot-1")
    return Surroundings("node-0", moment, history, f"new-{hours:g}")


def outage(kind: OutageKind, hours: float, ticket: str | None = None) -> Outage:
    """An outage that another node opened."""
    return Outage(f"{kind}-{hours:g}", kind, NOW + hours * HOUR, "node-9", "theirs", ticket)


def success(hours: float) -> Success:
    """A success of another node."""
    return Success(NOW + hours * HOUR, "node-9", "HC1234-ZZ5678")


def mails(effects: list[Effect]) -> list[str]:
    """The kinds of the mails asked for."""
    return [effect.kind for effect in effects if isinstance(effect, SendMail)]


UNREACHABLE, REFUSED = OutageKind.UNREACHABLE, OutageKind.REFUSED


def test_without_a_past_neither_silence_nor_refusal_is_judged_before_it_is_known() -> None:
    """A pod without local state waits for the repository, and its outage counts from then on."""
    for meaning in (CLEO, Refusal("revoked")):
        waiting, effects = judge(Standing(), meaning, around(0, History.AWAITED), POLICY)
        assert waiting.state is State.UNVERIFIED
        assert effects == []
        given_up, _ = judge(waiting, meaning, around(0.25, History.UNKNOWN), POLICY)
        assert given_up.state is State.GRACE
        assert given_up.outage is not None
        assert given_up.outage.start == NOW  # of the first failure
        assert remaining(given_up, POLICY) == pytest.approx(95.75 * HOUR)


def test_of_two_outages_the_earlier_counts_for_a_node_that_is_new() -> None:
    """The system's notice began with the first."""
    for early, late in ((UNREACHABLE, REFUSED), (REFUSED, UNREACHABLE)):
        record = Record(success(-90)).with_outage(outage(early, -50)).with_outage(outage(late, -20))
        for meaning in (CUSTOMER, Refusal("revoked")):
            standing, _ = judge(Standing(record), meaning, around(), POLICY)
            assert standing.counts is early
            assert remaining(standing, POLICY) == pytest.approx(46 * HOUR)


def test_a_node_that_verified_itself_is_not_touched_by_others_who_cannot_reach_the_service() -> (
    None
):
    """It stays valid; a refusal then begins its own notice, even if theirs is long over."""
    record = Record(success(-200), outage(UNREACHABLE, -150))
    verified = Standing(record, state=State.VALID, verified_here=True)
    valid, effects = judge(verified, CUSTOMER, around(), POLICY)
    assert valid.state is State.VALID
    assert effects == []
    refused, effects = judge(valid, Refusal("revoked"), around(1), POLICY)
    assert refused.state is State.GRACE
    assert remaining(refused, POLICY) == 96 * HOUR
    assert mails(effects) == ["grace-started"]
    # After a restart it goes on with its own notice, not with theirs.
    again = Standing(refused.record, refused.counts, refused.meter)
    restarted, _ = judge(again, CUSTOMER, around(2), POLICY)
    assert remaining(restarted, POLICY) == 95 * HOUR


def test_a_refusal_that_another_node_received_counts_from_then_on() -> None:
    """One license: what the service said to one, it said of all."""
    record = Record(success(-10), refused=outage(REFUSED, -5))
    verified = Standing(record, state=State.VALID, verified_here=True)
    standing, _ = judge(verified, CUSTOMER, around(), POLICY)
    assert standing.state is State.GRACE
    assert remaining(standing, POLICY) == 91 * HOUR


def test_a_refusal_while_an_outage_runs_neither_ends_nor_prolongs_it() -> None:
    """Never verified, in grace, refused: the notice goes on, with the new cause."""
    grace, _ = judge(Standing(), CUSTOMER, around(), POLICY)
    refused, effects = judge(grace, Refusal("revoked"), around(10), POLICY)
    assert refused.state is State.GRACE
    assert remaining(refused, POLICY) == 86 * HOUR
    assert "revoked" in refused.cause
    assert not any(isinstance(effect, Stop) for effect in effects)


def test_an_outage_never_begins_before_the_last_success() -> None:
    """Else a success by a slightly faster clock would end it at once, again and again."""
    ahead = Record(success(0.01))
    standing, _ = judge(Standing(ahead), Refusal("revoked"), around(), POLICY)
    assert standing.outage is not None
    assert standing.outage.start == NOW + 0.01 * HOUR


@pytest.mark.parametrize(
    ("age", "state"), [(25.0, State.VALID), (25.1, State.GRACE), (-500.0, State.GRACE)]
)
def test_a_success_of_another_node_counts_for_the_interval_and_an_hour(
    age: float, state: State
) -> None:
    """And not at all if it lies in the future, by a clock that is wrong."""
    standing, _ = judge(Standing(Record(success(-age))), CUSTOMER, around(), POLICY)
    assert standing.state is state


def test_a_fresh_success_does_not_hide_a_refusal_that_came_after_it() -> None:
    """A restart does not help out of a grace period."""
    record = Record(success(-3), refused=outage(REFUSED, -1))
    standing, _ = judge(Standing(record), CUSTOMER, around(), POLICY)
    assert standing.state is State.GRACE


def test_a_rejection_stays_until_it_is_verified() -> None:
    """Refused at the first start: an unreachable service later gives no grace."""
    rejected = Record(rejection=Rejection(NOW - HOUR, "node-9", "revoked", "ask sales"))
    standing, effects = judge(Standing(rejected), CUSTOMER, around(), POLICY)
    assert standing.state is State.REFUSED
    (letter, stop) = effects
    assert isinstance(letter, SendMail)
    assert letter.kind == "refused"
    assert isinstance(stop, Stop)
    assert "ask sales" in stop.message
    verified, effects = judge(standing, Verified(), around(1), POLICY)
    assert verified.state is State.VALID
    assert verified.record.rejection is None
    assert isinstance(effects[0], LetRun)
    assert mails(effects) == ["verified-again"]


def test_tickets_are_for_cleos_side_in_grace_and_only_until_there_is_one() -> None:
    """Neither for the customer's network, nor for a refusal, nor while valid."""
    ticketed = Record(unreachable=outage(UNREACHABLE, -1, "IT-1"))
    cases: list[tuple[Standing, Meaning, bool]] = [
        (Standing(), CLEO, True),
        (Standing(), CUSTOMER, False),
        (Standing(Record(success(-90))), Refusal("revoked"), False),
        (Standing(ticketed), CLEO, False),
        (Standing(Record(success(-1)), verified_here=True), CLEO, False),
    ]
    for standing, meaning, wanted in cases:
        _, effects = judge(standing, meaning, around(), POLICY)
        assert any(isinstance(effect, OpenTicket) for effect in effects) is wanted


def test_the_mails_of_a_whole_grace_period_come_once_and_in_order() -> None:
    """At each hour the machine is asked; each mail is asked for once."""
    standing, effects = judge(Standing(), CUSTOMER, around(), POLICY)
    told = [(0, kind) for kind in mails(effects)]
    for hour in range(1, 97):
        standing, effects = tick(standing, around(hour).moment, POLICY)
        told += [(hour, kind) for kind in mails(effects)]
    assert told == [
        (0, "grace-started"),
        (24, "reminder-1"),
        (48, "reminder-2"),
        (72, "reminder-3"),
        (92, "last-warning"),
        (96, "over"),
    ]
    assert standing.state is State.OVER


@pytest.mark.parametrize(
    ("hours", "expected"), [(0, 24), (23.5, 0.5), (73, 19), (91, 1), (92, 4), (95.5, 0.5)]
)
def test_the_next_event_is_known_in_advance(hours: float, expected: float) -> None:
    """So that the loop can sleep until then."""
    standing, _ = judge(Standing(), CUSTOMER, around(), POLICY)
    standing, _ = tick(standing, around(hours).moment, POLICY)
    assert seconds_to_next_event(standing, POLICY) == pytest.approx(expected * HOUR)


def test_a_short_grace_period_has_no_reminders() -> None:
    """An hour's grace: begun, over."""
    short = replace(POLICY, grace=HOUR)
    standing, effects = judge(Standing(), CUSTOMER, around(), short)
    assert mails(effects) == ["grace-started"]
    standing, effects = tick(standing, around(1).moment, short)
    assert mails(effects) == ["over"]


def test_a_running_harmony_has_four_days_in_all_however_often_its_license_is_replaced() -> None:
    """Each new license is refused: the first begins a grace, the others neither end nor prolong
    it; one that ended before gives none."""
    valid = forget_license(Standing(Record(success(0)), state=State.VALID))
    standing, _ = judge(valid, Refusal("invalid"), around(), POLICY)
    assert standing.state is State.GRACE
    for hours in (24, 48, 95):
        standing, _ = judge(forget_license(standing), Refusal("invalid"), around(hours), POLICY)
        assert standing.state is State.GRACE
        assert remaining(standing, POLICY) == pytest.approx((96 - hours) * HOUR)
    _, effects = judge(forget_license(standing), Verified(), around(96), POLICY)
    assert mails(effects) == ["verified-again"]
    standing, effects = judge(forget_license(standing), Refusal("invalid"), around(97), POLICY)
    assert standing.state is State.OVER
    assert isinstance(effects[-1], Stop)
    standing, _ = judge(forget_license(standing), Refusal("invalid"), around(98), POLICY)
    assert standing.state is State.REFUSED


def test_a_newcomers_refusal_does_not_stop_one_that_ran_before_the_rotation() -> None:
    """Another node, which never ran on the new license, was refused; here the service is out of
    reach: notice is given, and it is the refusal's."""
    record = Record(rejection=Rejection(NOW, "node-9", "invalid"))
    ran = replace(forget_license(Standing(Record(success(0)), state=State.VALID)), record=record)
    standing, effects = judge(ran, CUSTOMER, around(), POLICY)
    assert standing.state is State.GRACE
    assert standing.counts is REFUSED
    assert mails(effects) == ["grace-started"]


def test_a_refusal_at_the_first_start_is_mailed_once_and_is_the_same_case_for_all() -> None:
    """A restart that was mailed for asks for no more; another node's copy has the same id."""
    standing, effects = judge(Standing(), Refusal("revoked"), around(), POLICY)
    assert mails(effects) == ["refused"]
    again = Standing(standing.record, mailed=standing.mailed)
    again, effects = judge(again, Refusal("revoked"), around(1), POLICY)
    assert mails(effects) == []
    assert isinstance(effects[-1], Stop)
    newcomer = Standing(merge(standing.record, EMPTY))
    newcomer, effects = judge(newcomer, CUSTOMER, around(2), POLICY)
    assert mails(effects) == ["refused"]
    assert newcomer.case == standing.case
    assert goes_on(standing, again)


def test_a_success_ends_both_kinds_of_outage_and_is_mailed_once() -> None:
    """One mail, for the one that began first."""
    record = Record(success(-90), outage(UNREACHABLE, -50), outage(REFUSED, -20))
    standing, effects = judge(Standing(record), Verified(), around(), POLICY)
    assert standing.record.outages == ()
    assert [e.outage.id for e in effects if isinstance(e, SendMail)] == ["unreachable--50"]
    assert standing.record.success is not None
    assert standing.record.success.serial == "HC1234-ZZ5678"  # still known
