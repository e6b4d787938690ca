"""The bound on bytes in flight."""

import asyncio

import pytest

from harmony_agent.sync.budget import Budget


@pytest.mark.looptime
async def test_transfers_share_the_budget_and_a_large_one_goes_alone() -> None:
    """Never more than the budget at once, except for one that exceeds it by itself."""
    budget = Budget(100)
    held: list[int] = []
    peaks: list[list[int]] = []

    async def transfer(size: int) -> None:
        async with budget.take(size):
            held.append(size)
            peaks.append(list(held))
            await asyncio.sleep(1)
            held.remove(size)

    await asyncio.gather(*(transfer(size) for size in (60, 60, 40, 0, 500, 10)))
    assert len(peaks) == 6
    assert all(sum(peak) <= 100 or sorted(peak) in ([500], [0, 500]) for peak in peaks)


@pytest.mark.looptime
async def test_a_transfer_that_fails_or_is_cancelled_gives_its_share_back() -> None:
    """The next one gets in."""
    budget = Budget(10)
    with pytest.raises(ValueError, match="broken"):
        async with budget.take(10):
            raise ValueError("broken")
    async with budget.take(10):
        waiting = asyncio.create_task(budget.take(5).__aenter__())
        await asyncio.sleep(1)
        waiting.cancel()
    async with asyncio.timeout(1), budget.take(10):
        pass
