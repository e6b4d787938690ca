"""Items that come while a batch is under way go together in the next one."""

import asyncio
from collections.abc import Sequence

import looptime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.core.batches import Batches

pytestmark = pytest.mark.looptime


class Recorder:
    """Takes a second for a batch and remembers what was in it; odd numbers fail."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    async def carry_out(self, items: Sequence[int]) -> Sequence[int | Exception]:
        """See Batches."""
        self.batches.append(list(items))
        await asyncio.sleep(1)
        return [ValueError(item) if item % 2 else item * 10 for item in items]


async def test_a_single_item_goes_at_once_and_the_others_go_together() -> None:
    """Nothing waits for company, and no batch is larger than allowed."""
    recorder = Recorder()
    batches = Batches("test", recorder.carry_out, most=3)
    answers = await asyncio.gather(*(batches.do(number) for number in (0, 2, 4, 6, 8)))
    assert answers == [0, 20, 40, 60, 80]
    assert recorder.batches == [[0, 2, 4], [6, 8]]
    assert await batches.do(10) == 100
    assert asyncio.get_running_loop().time() == pytest.approx(3)


async def test_each_learns_of_its_own_failure() -> None:
    """One that fails does not fail the others."""
    batches = Batches("test", Recorder().carry_out, most=9)
    outcomes = await asyncio.gather(*map(batches.do, (1, 2)), return_exceptions=True)
    assert isinstance(outcomes[0], ValueError)
    assert outcomes[1] == 20


async def test_a_batch_that_fails_fails_all_of_it_and_the_next_is_tried() -> None:
    """Nobody waits for ever."""
    fails = [True, False]

    async def carry_out(items: Sequence[int]) -> Sequence[int | Exception]:
        if fails.pop(0):
            raise OSError("the disk is gone")
        return items

    batches = Batches("test", carry_out, most=2)
    outcomes = await asyncio.gather(*map(batches.do, (1, 2, 3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OSError, OSError, int]


async def test_who_is_canceled_disturbs_nobody() -> None:
    """What was asked for is carried out all the same, and so is what came after it."""
    recorder = Recorder()
    batches = Batches("test", recorder.carry_out, most=9)
    impatient = asyncio.create_task(batches.do(2))
    await asyncio.sleep(0.5)
    late = asyncio.create_task(batches.do(4))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await late == 40
    assert recorder.batches == [[2], [4]]
    with pytest.raises(asyncio.CancelledError):
        await impatient


@given(st.lists(st.sampled_from([0, 0, 0.5, 1, 1.5]), max_size=30))
def test_no_item_is_forgotten(pauses: list[float]) -> None:
    """Whenever it comes, also at the moment a batch ends."""

    async def live() -> list[int]:
        recorder = Recorder()
        batches = Batches("test", recorder.carry_out, most=2)
        asked = []
        for pause in pauses:
            await asyncio.sleep(pause)
            asked.append(asyncio.create_task(batches.do(2)))
        async with asyncio.timeout(100):
            return list(await asyncio.gather(*asked))

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        assert runner.run(live()) == [20] * len(pauses)
