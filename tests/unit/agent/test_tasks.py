"""Root tasks: the first to end stops the agent."""

import asyncio

import pytest

from harmony_agent.agent.tasks import RootTasks


async def _for_ever() -> None:
    await asyncio.Event().wait()


@pytest.mark.looptime
async def test_the_first_to_end_is_named() -> None:
    """A task that ends is told by name while the others go on, and stopping ends them."""
    tasks = RootTasks()
    tasks.start("eternal", _for_ever())
    tasks.start("short", asyncio.sleep(3))
    assert await tasks.first_end() == "short"
    await tasks.stop(limit=1)


@pytest.mark.looptime
async def test_a_failure_is_raised_even_if_others_end_in_the_same_instant() -> None:
    """The failed task's exception wins over a clean end."""

    async def fail() -> None:
        raise ValueError("broken")

    tasks = RootTasks()
    tasks.start("clean", asyncio.sleep(0))
    tasks.start("failing", fail())
    with pytest.raises(ValueError, match="broken"):
        await tasks.first_end()
    await tasks.stop(limit=1)


@pytest.mark.looptime
async def test_a_task_that_will_not_end_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    """Stopping takes no longer than its limit and names the task that resists."""
    let_go = asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    tasks = RootTasks()
    tasks.start("stubborn", stubborn())
    await asyncio.sleep(0)
    begun = asyncio.get_running_loop().time()
    await tasks.stop(limit=5)
    assert asyncio.get_running_loop().time() - begun == pytest.approx(5)
    assert "task stubborn does not end" in caplog.text
    let_go.set()
    await asyncio.sleep(0.1)
