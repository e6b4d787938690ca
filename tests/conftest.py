"""What all tests share."""

import asyncio
import inspect
from collections.abc import Generator

import hypothesis
import pytest

from tests.time_limit import time_limit

# No test is timed: a busy machine fails none.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Give each test, its fixtures included, a limit of time."""
    with time_limit():
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Give each synchronous test an event loop, and close it.

    looptime's plugin asks for the current loop before every test; without one the policy makes
    one that nobody closes, and warnings are errors here.
    """
    if inspect.iscoroutinefunction(getattr(item, "obj", None)):
        return (yield)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return (yield)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
