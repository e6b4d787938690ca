"""Blocking libraries in bounded threads, each call with a time limit."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

from harmony_agent.core.errors import OutcomeUnknown, Unavailable

__all__ = ["Workers", "many_calls"]

_MANY_CALLS: Final = threading.Lock()
_COURTESY: Final = 0.05  # seconds to wait for another thread's many calls: it may hang in one

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A small pool for one blocking resource; a call that exceeds its limit is given up.

    A thread can't be stopped: a call given up keeps its thread until the library returns, so the
    pool's size also bounds how much can hang.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._pool = ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)

    async def run(
        self, limit: float, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `call` in the pool; raises OutcomeUnknown after `limit` seconds, and Unavailable if
        the pool is closed before its turn comes."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, lambda: call(*args, **kwargs))
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(future)
        except TimeoutError as error:
            if future.done() and not future.cancelled() and future.exception() is error:
                raise  # the call's own time-out, not ours
            future.add_done_callback(_forget)
            raise OutcomeUnknown(f"{self._name}: no answer within {limit:g} s") from error

        except asyncio.CancelledError:
            future.add_done_callback(_forget)  # shield looks at it no longer
            task = asyncio.current_task()
            if future.cancelled() and task is not None and not task.cancelling():
                raise Unavailable(f"{self._name} is closed") from None
            raise

    def close(self) -> None:
        """Take no more calls; those that hang are left behind."""
        self._pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def many_calls() -> Iterator[None]:
    """For a thread that makes many quick system calls in a row, such as those on small files.

    Each gives the interpreter away and wants it back: two threads that do so at the same time take
    twice the CPU and are no faster. They take turns, unless one takes long. Not for what waits for
    a disk.
    """
    has_turn = _MANY_CALLS.acquire(timeout=_COURTESY)
    try:
        yield
    finally:
        if has_turn:
            _MANY_CALLS.release()


def _forget(future: asyncio.Future[Any]) -> None:
    """Retrieve the late result, so that asyncio does not report it as never looked at."""
    if not future.cancelled():
        future.exception()
