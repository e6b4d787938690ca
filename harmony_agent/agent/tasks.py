"""The root tasks: each has a name, all live side by side, the first to end stops the agent."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

__all__ = ["RootTasks"]

log = logging.getLogger(__name__)


class RootTasks:
    """Named tasks that are meant to run for ever."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Start one; its name shows in logs and in stack dumps."""
        self._tasks[name] = asyncio.create_task(work, name=name)

    async def first_end(self) -> str:
        """Wait for the first task to end; its name. Raises what the task raised."""
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        # If several ended at once, one that failed tells more.
        ended = min(done, key=lambda task: task.cancelled() or task.exception() is None)
        self._tasks.pop(ended.get_name())
        ended.result()
        return ended.get_name()

    async def stop(self, *names: str, limit: float) -> None:
        """Cancel these tasks (all without a name) and wait, at most `limit` seconds.

        What they raise while ending is told, not raised: the others have to be stopped too.
        """
        chosen = {n: t for n, t in self._tasks.items() if not names or n in names}
        for task in chosen.values():
            task.cancel()
        if chosen:
            await asyncio.wait(chosen.values(), timeout=limit)
        for name, task in chosen.items():
            self._tasks.pop(name)
            if not task.done():
                log.warning("task %s does not end and is left behind", name)
            elif not task.cancelled() and (error := task.exception()) is not None:
                log.error("task %s failed while ending: %s", name, error)
