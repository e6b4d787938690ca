"""A limit of time for each test, which says where the test stood.

A test that waits for ever says nothing and stops the whole run. At the limit the stacks of all
asyncio tasks are printed and the test fails. That is repeated: asyncio takes a failure that comes
while a task or a callback runs for the end of that alone, and so does a `finally` that waits again.
A test that can't be interrupted even so (a thread that never returns) ends its process a while
later: faulthandler_timeout in pyproject.toml.
"""

import asyncio
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

SECONDS = 300.0
"""Several times the longest test on a busy machine."""
AGAIN = 30.0
"""Seconds for what a failed test has to clean up, and between two attempts to make it fail."""


@contextmanager
def time_limit(seconds: float = SECONDS, again: float = AGAIN) -> Iterator[None]:
    """Raise `pytest.fail.Exception` in the main thread after `seconds` of real time, and every
    `again` seconds from then on."""

    def over(_signal: int, _frame: FrameType | None) -> None:
        print_tasks()
        pytest.fail(f"the test took more than {seconds:g} s: the tasks it waited for are above")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, again)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def print_tasks() -> None:
    """Print where each asyncio task waits, innermost call last, and all threads to stderr."""
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:  # no loop runs in this thread
        tasks = set()
    for task in tasks:
        print(task.get_name(), file=sys.stderr)
        waiting: object = task.get_coro()
        while (frame := getattr(waiting, "cr_frame", None)) is not None:
            code = frame.f_code
            print(f"  {code.co_filename}:{frame.f_lineno} {code.co_qualname}", file=sys.stderr)
            waiting = getattr(waiting, "cr_await", None)
        print(f"  {waiting!r}", file=sys.stderr)
    print("threads:", *(thread.name for thread in threading.enumerate()), file=sys.stderr)
