"""The bound on bytes in flight."""

import asyncio

import pytest

from harmony_agent.sync.applying.budget import Budget


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


@pytest.mark.looptime
async def test_who_comes_first_is_served_first() -> None:
    """Small ones do not pass by a large one for ever; one that gives up is in nobody's way."""
    budget = Budget(10)
    order: list[int] = []

    async def transfer(size: int) -> None:
        async with budget.take(size):
            order.append(size)
            await asyncio.sleep(1)

    tasks = []
    for size in (6, 9, 8, 4, 3):
        tasks.append(asyncio.create_task(transfer(size)))
        await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [6, 9, 4, 3]
    async with asyncio.timeout(1), budget.take(10):
        pass


@pytest.mark.looptime
async def test_who_is_cancelled_in_the_moment_of_the_grant_gives_it_back() -> None:
    """The bytes are granted before the waiting task learns of it: they must not get lost."""
    budget = Budget(10)
    async with budget.take(10):
        waiting = asyncio.create_task(budget.take(10).__aenter__())
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(1), budget.take(10):
        pass
