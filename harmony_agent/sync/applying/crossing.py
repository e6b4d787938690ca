"""How the files of a convoy get to the repository and back.

In one go where it takes many at once; else side by side, each in a turn of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from harmony_agent.core.errors import AgentError
from harmony_agent.repositories.interface import Content, Repository, Token
from harmony_agent.sync.applying.course import Course

__all__ = ["Crossing", "crossing"]

T = TypeVar("T")


class Crossing(Protocol):
    """Repository's operations on many small files; GivenUpError is an outcome as well.

    What came of each is told to the convoy's course. Raises what befalls all of them, of which
    nothing was told: errors of Repository and Course.
    """

    async def create_all(self, files: Sequence[tuple[str, bytes]]) -> Sequence[Token | AgentError]:
        """See Repository."""

    async def replace_all(
        self, files: Sequence[tuple[str, bytes, Token]]
    ) -> Sequence[Token | AgentError]:
        """See Repository."""

    async def read_all(self, paths: Sequence[str]) -> Sequence[Content | AgentError]:
        """See Repository."""


def crossing(repository: Repository, course: Course) -> Crossing:
    """The way that `repository` is best asked."""
    return OneGo(repository, course) if repository.together > 1 else SideBySide(repository, course)


class OneGo:
    """All files take one turn."""

    def __init__(self, repository: Repository, course: Course) -> None:
        self._repository = repository
        self._course = course

    async def create_all(self, files: Sequence[tuple[str, bytes]]) -> Sequence[Token | AgentError]:
        """See Crossing."""
        return await self._in_turn(partial(self._repository.create_all, files))

    async def replace_all(
        self, files: Sequence[tuple[str, bytes, Token]]
    ) -> Sequence[Token | AgentError]:
        """See Crossing."""
        return await self._in_turn(partial(self._repository.replace_all, files))

    async def read_all(self, paths: Sequence[str]) -> Sequence[Content | AgentError]:
        """See Crossing."""
        return await self._in_turn(partial(self._repository.read_all, paths))

    async def _in_turn(self, ask: Callable[[], Awaitable[Sequence[T]]]) -> Sequence[T]:
        await self._course.enter()
        try:
            outcomes = await ask()
        finally:
            self._course.leave()
        for outcome in outcomes:
            self._course.tell(outcome)
        return outcomes


class SideBySide:
    """Each file takes a turn, as it would alone: what ends meanwhile (the right to write, all
    hope) ends it for those that still wait."""

    def __init__(self, repository: Repository, course: Course) -> None:
        self._repository = repository
        self._course = course

    async def create_all(self, files: Sequence[tuple[str, bytes]]) -> Sequence[Token | AgentError]:
        """See Crossing."""
        return await self._each([partial(self._repository.create, *file) for file in files])

    async def replace_all(
        self, files: Sequence[tuple[str, bytes, Token]]
    ) -> Sequence[Token | AgentError]:
        """See Crossing."""
        return await self._each([partial(self._repository.replace, *file) for file in files])

    async def read_all(self, paths: Sequence[str]) -> Sequence[Content | AgentError]:
        """See Crossing."""
        return await self._each([partial(self._repository.read, path) for path in paths])

    async def _each(
        self, operations: Sequence[Callable[[], Awaitable[T]]]
    ) -> Sequence[T | AgentError]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._in_turn(each)) for each in operations]
        return [task.result() for task in tasks]

    async def _in_turn(self, operation: Callable[[], Awaitable[T]]) -> T | AgentError:
        course = self._course.another()
        outcome: T | AgentError
        try:
            await course.enter()
            outcome = await operation()
        except AgentError as error:
            outcome = error
        finally:
            course.leave()
        self._course.tell(outcome)  # at once: others wait for their turns
        return outcome
