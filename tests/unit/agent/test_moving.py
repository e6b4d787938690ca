"""A rotated secret of the runtime repository: where it leads elsewhere, the lease comes first."""

import asyncio
from pathlib import Path

import looptime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmony_agent.lifecycle.health import Level
from harmony_agent.repositories.lease_machine import Phase
from tests.unit.agent.moving_pod import MovingPod, other_owner
from tests.unit.sync.bench import quick_folder

pytestmark = pytest.mark.looptime


async def test_new_credentials_for_the_same_place_change_nothing(tmp_path: Path) -> None:
    """The folder stays ours without a pause, its lease is the same, nothing is compared anew, and
    the old connector is not used any more."""
    pod = MovingPod(tmp_path / "pod")
    pod.bench.write("AS2/data/1", "one")
    async with pod.running():
        await asyncio.sleep(10)
        place, epoch = pod.places["a"], pod.lease.epoch
        listings = place.listings()
        pod.rotate("a", "second key")
        for _ in range(300):
            assert pod.lease.may_write()
            await asyncio.sleep(0.1)
        assert pod.renewal.used.secret_access_key.get_secret_value() == "second key"  # type: ignore[union-attr]
        assert pod.lease.epoch == epoch
        assert place.listings() == listings
        pod.bench.write("AS2/data/2", "two")
        await asyncio.sleep(2)
        assert place.owned() == pod.bench.owned()
    assert pod.trespasses() == []


async def test_everything_arrives_at_another_place_once_its_lease_is_ours(tmp_path: Path) -> None:
    """Files that were in step count as not there yet: the new place gets all of them within
    seconds. The lease of the old one is given back, and nothing is deleted there."""
    pod = MovingPod(tmp_path / "pod")
    for number in range(50):
        pod.bench.write(f"AS2/data/{number}", f"{number}@acme")
    async with pod.running():
        await asyncio.sleep(10)
        pod.rotate("b")
        await asyncio.sleep(5)
        assert pod.places["b"].owned() == pod.places["a"].owned() == pod.bench.owned()
        assert (pod.places["a"].owner(), pod.places["b"].owner()) == (None, "me")
        assert pod.condition("lease").level is Level.OK
        pod.bench.remove("AS2/data/7")
        pod.bench.write("AS2/data/8", "edited")
        await asyncio.sleep(5)
        assert pod.places["b"].owned() == pod.bench.owned()
        assert len(pod.places["a"].owned()) == 50
    assert pod.trespasses() == []


async def test_a_place_that_another_node_holds_is_not_written(tmp_path: Path) -> None:
    """Not ready meanwhile, and the owner named; everything arrives within seconds once it is free,
    what was written meanwhile as well."""
    pod = MovingPod(tmp_path / "pod")
    pod.bench.write("AS2/data/1", "one")
    async with pod.running():
        await asyncio.sleep(10)
        before = pod.places["a"].owned()
        async with other_owner(pod.places["b"]):
            pod.rotate("b")
            await asyncio.sleep(5)
            pod.bench.write("AS2/data/2", "two")
            await asyncio.sleep(600)
            assert pod.places["b"].owned() == {}
            assert pod.places["a"].owned() == before
            assert pod.lease.state is Phase.WAITING
            assert pod.condition("lease").level is Level.FAILED
            assert "memory://b is held by pod of another" in pod.condition("lease").message
            assert await pod.mirror.flush(5) == 2  # so much would stay behind
        await asyncio.sleep(15)
        assert pod.places["b"].owned() == pod.bench.owned()
        assert pod.condition("lease").level is Level.OK
    assert pod.trespasses() == []


async def test_writing_stops_in_the_instant_of_the_exchange(tmp_path: Path) -> None:
    """The new place is as slow as can be about its lease: until then no moment is ours."""
    pod = MovingPod(tmp_path / "pod")
    pod.bench.write("AS2/data/1", "one")
    async with pod.running():
        await asyncio.sleep(10)
        pod.places["b"].delay = 0.3
        pod.rotate("b")
        while pod.handle.location == "memory://a":
            assert pod.lease.may_write()
            await asyncio.sleep(0.001)
        assert not pod.lease.may_write()
        pod.bench.write("AS2/data/2", "two")
        while not pod.lease.may_write():
            await asyncio.sleep(0.1)
        assert pod.places["b"].owner() == "me"
        await asyncio.sleep(60)
        assert pod.places["b"].owned() == pod.bench.owned()
    assert pod.trespasses() == []


async def test_a_renewal_that_is_answered_late_does_not_count_for_the_new_place(
    tmp_path: Path,
) -> None:
    """It was sent to the old place; the exchange waits for its answer, and does not believe it."""
    pod = MovingPod(tmp_path / "pod")
    async with pod.running():
        await asyncio.sleep(9.5)
        pod.places["a"].delay = 2.0  # the renewal is due at 10
        async with other_owner(pod.places["b"]):
            await asyncio.sleep(1)
            pod.rotate("b")
            while pod.handle.location == "memory://a":
                await asyncio.sleep(0.1)
            for _ in range(100):
                assert not pod.lease.may_write()
                await asyncio.sleep(0.1)
    assert pod.trespasses() == []


async def test_an_old_place_that_is_away_holds_nothing_up(tmp_path: Path) -> None:
    """Its lease can't be given back and runs out by itself; the new place is in use all the
    same, and gets what was written during the outage."""
    pod = MovingPod(tmp_path / "pod")
    pod.bench.write("AS2/data/1", "one")
    async with pod.running():
        await asyncio.sleep(10)
        pod.places["a"].down = True
        pod.bench.write("AS2/data/2", "two")
        await asyncio.sleep(300)
        assert not pod.lease.may_write()
        pod.rotate("b")
        await asyncio.sleep(5)
        assert pod.places["b"].owned() == pod.bench.owned()
        assert pod.places["a"].owner() == "me"
    assert pod.trespasses() == []


async def test_a_new_place_that_is_away_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    """Nothing waits for it: the lease and the mirror go on where they are until it is proven."""
    pod = MovingPod(tmp_path / "pod")
    async with pod.running():
        await asyncio.sleep(10)
        pod.places["b"].down = True
        pod.rotate("b")
        for number in range(60):
            pod.bench.write("AS2/data/1", str(number))
            await asyncio.sleep(5)
            assert pod.lease.may_write()
            assert pod.places["a"].owned() == pod.bench.owned()
        assert pod.condition("runtime-secret").level is Level.TROUBLE
        pod.places["b"].down = False
        await asyncio.sleep(40)
        assert pod.places["b"].owned() == pod.bench.owned()
    assert pod.trespasses() == []


async def test_what_the_new_place_holds_otherwise_is_set_aside(tmp_path: Path) -> None:
    """Home wins, and what it overrules is kept there."""
    pod = MovingPod(tmp_path / "pod")
    pod.bench.write("AS2/data/1", "one")
    async with pod.running():
        await asyncio.sleep(10)
        pod.places["b"].put("AS2/data/1", b"of an earlier life")
        pod.rotate("b")
        await asyncio.sleep(5)
        assert pod.places["b"].owned() == {"AS2/data/1": b"one"}
        assert pod.places["b"].kept() == [b"of an earlier life"]
    assert pod.trespasses() == []


async def test_on_the_way_back_what_was_deleted_meanwhile_does_not_come_back(
    tmp_path: Path,
) -> None:
    """The old place still holds a pending message that was sent while we were away: in the next
    home it would be sent again. It is set aside."""
    pod = MovingPod(tmp_path / "pod")
    pod.bench.write("AS3/unsent/1", "pending")
    pod.bench.write("AS2/data/1", "one")
    async with pod.running():
        await asyncio.sleep(10)
        pod.rotate("b")
        await asyncio.sleep(10)
        pod.bench.remove("AS3/unsent/1")
        pod.bench.write("AS2/data/1", "edited")
        await asyncio.sleep(10)
        pod.rotate("a")
        await asyncio.sleep(10)
        assert pod.places["a"].owned() == pod.bench.owned() == {"AS2/data/1": b"edited"}
        assert b"pending" in pod.places["a"].kept()
        assert (pod.places["a"].owner(), pod.places["b"].owner()) == ("me", None)
    assert pod.trespasses() == []


async def test_a_listing_of_the_old_place_tells_nothing_of_the_new_one(tmp_path: Path) -> None:
    """It was under way when the place was exchanged: what it found is not there, and counts as
    left behind should the agent end before the new place is ours."""
    pod = MovingPod(tmp_path / "pod")
    pod.bench.write("AS2/data/1", "one")
    async with pod.running(), other_owner(pod.places["b"]):
        await asyncio.sleep(10)
        pod.places["a"].delay = 1.0  # a listing of all folders takes a while
        listings = pod.places["a"].listings()
        while pod.places["a"].listings() == listings:
            await asyncio.sleep(0.1)
        pod.rotate("b")
        await asyncio.sleep(30)
        assert await pod.mirror.flush(5) == 1
    assert pod.trespasses() == []


async def test_until_the_new_place_is_listed_nothing_counts_as_being_there(tmp_path: Path) -> None:
    """The agent ends before it has seen what is there, or that it is its own: all files are left
    behind. Where it is its own, the last push brings them all."""
    pod = MovingPod(tmp_path / "pod")
    for number in range(5):
        pod.bench.write(f"AS2/data/{number}", "content")
    async with pod.running():
        await asyncio.sleep(10)
        async with other_owner(pod.places["b"]):
            pod.places["b"].delay = 5.0
            pod.rotate("b")
            while pod.handle.location == "memory://a":
                await asyncio.sleep(0.1)
            assert await pod.mirror.flush(3) == 5
            pod.places["b"].delay = 0.0
        assert await pod.mirror.flush(60) == 0
        assert pod.places["b"].owned() == pod.bench.owned()
    assert pod.trespasses() == []


NAMES = ("AS2/data/1", "AS2/data/2", "AS3/unsent/3")
step = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(0, 9)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("rotate"), st.sampled_from("abc"), st.integers(0, 2)),
    st.tuples(st.just("outage"), st.sampled_from("abc"), st.just(0)),
    st.tuples(st.just("slow"), st.sampled_from("abc"), st.integers(0, 2)),
    st.tuples(st.just("other owner"), st.sampled_from("abc"), st.integers(1, 90)),
    st.tuples(st.just("wait"), st.just(""), st.integers(0, 40)),
)


async def _live(pod: MovingPod, history: list[tuple[str, str, int]]) -> None:
    others: list[asyncio.Task[None]] = []

    async def visit(place: str, seconds: int) -> None:
        async with other_owner(pod.places[place]):
            await asyncio.sleep(seconds)

    async with pod.running():
        wanted = "a"
        for what, name, number in history:
            if what == "write":
                pod.bench.write(name, str(number))
            elif what == "remove" and name in pod.bench.owned():
                pod.bench.remove(name)
            elif what == "rotate":
                wanted = name
                pod.rotate(name, f"key {number}")
            elif what == "outage":
                pod.places[name].down = not pod.places[name].down
            elif what == "slow":
                pod.places[name].delay = float(number)
            elif what == "other owner":
                others.append(asyncio.create_task(visit(name, number)))
            await asyncio.sleep(number if what == "wait" else 0.3)
        for place in pod.places.values():
            place.down, place.delay = False, 0.0
        for other in others:  # those that have not given it back by now are killed
            other.cancel()
        await asyncio.sleep(400)
        assert pod.handle.location == f"memory://{wanted}"
        assert pod.lease.may_write()
        assert pod.places[wanted].owned() == pod.bench.owned()


@pytest.mark.looptime(False)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(step, max_size=20))
def test_whatever_happens_a_place_is_written_under_its_own_lease_only(
    history: list[tuple[str, str, int]],
) -> None:
    """Random edits, rotations, outages, slow servers and other owners: no place is ever written
    without its lease, and in the end the place that was wanted last holds what home holds."""
    with (
        quick_folder() as folder,
        asyncio.Runner(loop_factory=looptime.new_event_loop) as runner,
    ):

        async def live() -> list[tuple[str, str]]:
            pod = MovingPod(Path(folder) / "pod")
            await _live(pod, history)
            return pod.trespasses()

        assert runner.run(live()) == []
