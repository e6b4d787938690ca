"""Blocking calls in bounded threads."""

import asyncio
import gc
import threading
from typing import Any

import pytest

from harmony_agent.core.errors import OutcomeUnknown, Unavailable
from harmony_agent.core.threads import Workers


async def test_a_call_that_hangs_is_given_up_and_the_pool_goes_on() -> None:
    """After the limit the caller gets OutcomeUnknown, and other calls still run."""
    workers = Workers("test", 2)
    release = threading.Event()
    try:
        with pytest.raises(OutcomeUnknown, match=r"no answer within 0\.05 s"):
            await workers.run(0.05, release.wait)
        assert await workers.run(5, lambda: "done") == "done"
    finally:
        release.set()
        workers.close()


async def test_what_the_call_raises_reaches_the_caller() -> None:
    """An exception of the call is raised unchanged, a TimeoutError of its own too."""
    workers = Workers("test", 1)

    def fail(error: Exception) -> None:
        raise error

    try:
        with pytest.raises(KeyError):
            await workers.run(5, fail, KeyError("x"))
        with pytest.raises(TimeoutError, match="the call's own"):
            await workers.run(5, fail, TimeoutError("the call's own"))
    finally:
        workers.close()


async def test_cancelling_the_caller_does_not_wait_for_the_call() -> None:
    """A caller that is cancelled ends at once though its call hangs."""
    workers = Workers("test", 1)
    release = threading.Event()
    task = asyncio.create_task(workers.run(60, release.wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    workers.close()


async def test_a_call_that_fails_after_its_caller_was_cancelled_is_no_news() -> None:
    """asyncio does not complain of an exception that nobody looked at."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    workers, begun, release = Workers("test", 1), asyncio.Event(), threading.Event()

    def fail() -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait()
        raise KeyError("late")

    task = asyncio.create_task(workers.run(60, fail))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert await workers.run(5, int) == 0  # by then the other call has ended
    await asyncio.sleep(0)
    gc.collect()
    workers.close()
    assert complaints == []


async def test_a_call_whose_turn_never_came_fails_when_the_pool_is_closed() -> None:
    """It must not look as if the caller had been canceled."""
    workers, release = Workers("test", 1), threading.Event()
    running = asyncio.create_task(workers.run(5, release.wait))
    waiting = asyncio.create_task(workers.run(5, int))
    await asyncio.sleep(0)
    workers.close()
    with pytest.raises(Unavailable, match="closed"):
        await waiting
    release.set()
    assert await running
