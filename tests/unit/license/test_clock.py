"""Time that can't be turned back."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.license.clock import Meter, Moment, SystemClock, Timekeeper

DAY = 86400.0


@dataclass
class HandClock:
    """Clocks set by hand."""

    now: float = 1000 * DAY
    boot: float = 50.0
    name: str = "boot-1"

    def wall(self) -> float:
        """The wall clock."""
        return self.now

    def boottime(self) -> float:
        """Seconds since boot."""
        return self.boot

    def boot_id(self) -> str:
        """The boot."""
        return self.name

    def pass_time(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds
        self.boot += seconds


def test_steps_of_the_wall_clock_are_not_seen_within_a_boot() -> None:
    """Neither while the agent runs nor across its restart."""
    clock = HandClock()
    keeper = Timekeeper(clock)
    began = keeper.moment()
    clock.now += 30 * DAY
    clock.pass_time(100)
    assert keeper.moment().now == began.now + 100
    again = Timekeeper(clock, keeper.moment())
    clock.pass_time(50)
    assert again.moment().now == began.now + 150


def test_another_boot_reads_the_wall_clock() -> None:
    """BOOTTIME begins anew there."""
    clock = HandClock()
    saved = Timekeeper(clock).moment()
    clock.name, clock.boot, clock.now = "boot-2", 5.0, clock.now + 3 * DAY
    assert Timekeeper(clock, saved).moment().now == clock.now


def test_a_machine_that_was_set_back_reads_the_wall_clock() -> None:
    """A restored snapshot has the same boot and an earlier BOOTTIME."""
    clock = HandClock(boot=1000.0)
    saved = Timekeeper(clock).moment()
    clock.boot = 900.0
    clock.now += DAY
    assert Timekeeper(clock, saved).moment().now == clock.now


def test_the_first_date_that_contradicts_the_wall_clock_is_believed() -> None:
    """After a boot nobody knows whether the wall clock was set."""
    clock = HandClock()
    keeper = Timekeeper(clock)
    assert keeper.hear(clock.now - 10 * DAY)
    assert keeper.moment().now == clock.now - 10 * DAY


def test_one_wrong_server_does_not_move_a_confirmed_time() -> None:
    """Once confirmed, a contradicting Date needs the wall clock's agreement."""
    clock = HandClock()
    keeper = Timekeeper(clock)
    assert not keeper.hear(clock.now + 5)
    assert not keeper.hear(clock.now + 5 * DAY)
    assert keeper.moment().now == clock.now
    clock.now += 5 * DAY  # a paused virtual machine: both agree that time has passed
    assert keeper.hear(clock.now)
    assert keeper.moment().now == clock.now


def test_elapsed_counts_downtime_by_the_wall_clock_across_boots() -> None:
    """The larger of what was measured and now - start."""
    meter = Meter.begin(0.0, Moment(DAY, 10.0, "a"))
    assert meter.elapsed == DAY
    assert meter.at(Moment(3 * DAY, 5.0, "b")).elapsed == 3 * DAY


def test_elapsed_does_not_shrink_when_the_wall_clock_is_set_back() -> None:
    """Across a boot the wall clock says less than before: what was there stays and grows on."""
    meter = Meter.begin(0.0, Moment(3 * DAY, 10.0, "a"))
    back = meter.at(Moment(DAY, 5.0, "b"))
    assert back.elapsed == 3 * DAY
    assert back.at(Moment(DAY + 100, 105.0, "b")).elapsed == 3 * DAY + 100


def test_a_confirmed_time_corrects_a_claim_but_never_below_what_was_measured() -> None:
    """A Date header undoes a step forward of the wall clock."""
    meter = Meter.begin(1000.0, Moment(1000.0, 10.0, "a"))
    measured = meter.at(Moment(1500.0, 510.0, "a"))
    wrong = measured.at(Moment(1000.0 + 9 * DAY, 5.0, "b"))
    assert wrong.elapsed == 9 * DAY
    assert wrong.at(Moment(1700.0, 6.0, "b", confirmed=True)).elapsed == 700.0
    assert wrong.at(Moment(1100.0, 6.0, "b", confirmed=True)).elapsed == 501.0


def test_an_earlier_start_makes_more_elapse_and_a_later_one_changes_nothing() -> None:
    """Another node saw the outage first."""
    meter = Meter.begin(5000.0, Moment(6000.0, 10.0, "a"))
    assert meter.from_start(4000.0, Moment(6000.0, 10.0, "a")).elapsed == 2000.0
    assert meter.from_start(5500.0, Moment(6000.0, 10.0, "a")).elapsed == 1000.0


@given(
    st.lists(
        st.tuples(st.floats(0, DAY), st.floats(-30 * DAY, 30 * DAY), st.booleans()), max_size=20
    )
)
def test_elapsed_never_shrinks_and_never_lags(
    history: list[tuple[float, float, bool]],
) -> None:
    """Whatever the wall clock does, with reboots between: measured time is never lost."""
    clock, boots, true = HandClock(), 0, 0.0
    keeper = Timekeeper(clock)
    start = keeper.moment().now
    meter = Meter.begin(start, keeper.moment())
    for seconds, step, reboots in history:
        clock.pass_time(seconds)
        true += seconds
        before = meter
        meter = meter.at(keeper.moment())
        assert meter.elapsed >= before.elapsed
        assert meter.elapsed >= true - 1e-3
        clock.now += step
        if reboots:
            boots += 1
            clock.name, clock.boot = f"boot-{boots}x", 0.0
            keeper = Timekeeper(clock, meter.seen)
            meter = meter.at(keeper.moment())


def test_the_kernels_clocks_can_be_read() -> None:
    """Here and now."""
    clock = SystemClock()
    assert clock.boottime() > 0
    assert clock.wall() > 1_700_000_000
    assert clock.boot_id() == clock.boot_id()
