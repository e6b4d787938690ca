"""Work that is cheaper done together: what is asked for meanwhile goes in the next batch."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Batches"]

T = TypeVar("T")
R = TypeVar("R")


class Batches(Generic[T, R]):
    """Hands items to `carry_out` in batches of at most `most`, one batch at a time.

    Nothing waits for company while no batch is under way. `carry_out` gives an outcome for each
    item, in order; one that is an exception is raised where the item came from. If it raises, all
    items of the batch failed.
    """

    def __init__(
        self,
        name: str,
        carry_out: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        most: int,
    ) -> None:
        self._name = name
        self._carry_out = carry_out
        self._most = most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def do(self, item: T) -> R:
        """Carry out `item` with others; its outcome. Who is canceled can't take back an item."""
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name=self._name)
        return await done

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[: self._most]
                del self._waiting[: self._most]
                await self._one(batch)
        finally:
            # At once, not by a callback: what is asked for in between would not be carried out.
            self._worker = None

    async def _one(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            outcomes = await self._carry_out([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - whoever waits has to learn of it
            outcomes = [error] * len(batch)
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            if done.done():  # canceled
                continue
            if isinstance(outcome, Exception):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)
