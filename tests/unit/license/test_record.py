"""The shared record: copies become one, whatever the order."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.license.record import (
    EMPTY,
    Outage,
    OutageKind,
    Record,
    Rejection,
    Success,
    merge,
    plausible,
    salvage,
)

HOUR = 3600.0


def outage(
    start: float,
    kind: OutageKind = OutageKind.UNREACHABLE,
    *,
    name: str = "",
    ticket: str | None = None,
) -> Outage:
    """An outage named after its start."""
    return Outage(name or f"outage-{start}", kind, start, "node-0", "no answer", ticket)


TIMES = st.integers(0, 6).map(float)
SUCCESSES = st.none() | st.builds(
    Success,
    TIMES,
    st.sampled_from(["a", "b"]),
    st.none(),
    st.lists(TIMES.map(lambda t: f"outage-{t}"), max_size=2, unique=True).map(
        lambda ids: tuple(sorted(ids))
    ),
)


def outages(kind: OutageKind) -> st.SearchStrategy[Outage | None]:
    """Perhaps an outage of this kind."""
    tickets = st.none() | st.sampled_from(["IT-1", "IT-2"])
    return st.none() | st.builds(lambda t, n: outage(t, kind, ticket=n), TIMES, tickets)


# As nodes write them: in normal form.
RECORDS = st.builds(
    Record,
    SUCCESSES,
    outages(OutageKind.UNREACHABLE),
    outages(OutageKind.REFUSED),
    st.none() | st.builds(Rejection, TIMES, st.sampled_from(["a", "b"]), st.just("revoked")),
).map(lambda record: merge(record, EMPTY))


@given(RECORDS, RECORDS)
def test_the_order_of_two_copies_does_not_matter(one: Record, other: Record) -> None:
    """Merging is commutative."""
    assert merge(one, other) == merge(other, one)


@given(RECORDS, RECORDS)
def test_merging_again_changes_nothing(one: Record, other: Record) -> None:
    """Merging is idempotent: nodes that read each other's result don't write it again."""
    merged = merge(one, other)
    assert merge(merged, one) == merged
    assert merge(merged, merged) == merged


@given(RECORDS, RECORDS)
def test_no_outage_runs_that_a_success_ended(one: Record, other: Record) -> None:
    """By time, or by name."""
    merged = merge(one, other)
    for running in merged.outages:
        assert merged.success is None or (
            running.start >= merged.success.at and running.id not in merged.success.ended
        )


@given(RECORDS, RECORDS)
def test_a_rejection_stands_only_where_nothing_ever_ran(one: Record, other: Record) -> None:
    """A Harmony that ran keeps its notice."""
    merged = merge(one, other)
    if merged.rejection is not None:
        assert merged == Record(rejection=merged.rejection)


def test_the_earliest_start_counts_and_its_ticket_is_kept() -> None:
    """Two nodes opened an outage without seeing each other."""
    early, late = outage(10.0, ticket="IT-7"), outage(20.0)
    assert merge(Record(unreachable=late), Record(unreachable=early)).outages == (early,)
    without = replace(early, ticket=None)
    assert merge(Record(unreachable=without), Record(unreachable=early)).outages == (early,)


def test_a_success_ends_an_outage_that_began_by_a_faster_clock() -> None:
    """The outage's start is after the success by another node's clock, but it is named."""
    running = outage(100.0)
    success = Success(90.0, "node-1", None, (running.id,))
    assert merge(Record(unreachable=running), Record(success)).outages == ()


def test_a_success_in_the_future_is_known_without_its_time() -> None:
    """A wrong clock on one node must not hold off every later outage."""
    record = Record(Success(10 * HOUR, "node-0"))
    assert plausible(record, 9.5 * HOUR) == record
    far = plausible(record, HOUR)
    assert far.success is not None
    assert far.success.at == 0.0


def test_of_a_forged_copy_only_a_plausible_start_is_used() -> None:
    """Between the last success and now; its success and its rejection are not believed."""
    known = Record(Success(50.0, "node-0"))
    forged = Record(Success(60.0, "x"), outage(70.0), rejection=None)
    assert salvage(forged, known, now=100.0) == Record(unreachable=outage(70.0))
    assert salvage(forged, known, now=65.0) == EMPTY
    assert salvage(forged, Record(Success(80.0, "node-0")), now=100.0) == EMPTY


def test_a_forged_outage_gives_a_refused_license_no_grace() -> None:
    """A rejection that is known for sure stands."""
    known = Record(rejection=Rejection(10.0, "node-0", "revoked"))
    assert salvage(Record(unreachable=outage(20.0)), known, now=100.0) == EMPTY
