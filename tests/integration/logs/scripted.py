"""A log system of our own making: what it does next is scripted, what it got is kept."""

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar

from harmony_agent.logs.event import Event
from harmony_agent.logs.query import Page, Query
from harmony_agent.logs.systems.interface import Limits, LogSystem, Receipt

Answer = Callable[[Sequence[Event]], Receipt]


class ScriptedLogSystem(LogSystem):
    """Takes every batch, unless `script` holds answers or errors for the next sends."""

    kind: ClassVar[str] = "scripted"
    limits = Limits(entries=100, size=1024 * 1024)

    def __init__(self, *script: Answer | Exception) -> None:
        self.script = list(script)
        self.received: list[Event] = []
        self.attempts: list[float] = []
        self.down: Exception | None = None
        self.closed = False

    async def send(self, events: Sequence[Event]) -> Receipt:
        """Answer from the script."""
        assert not self.closed, "used after it was closed"
        assert len(events) <= self.limits.entries
        self.attempts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0)
        answer = self.down or (self.script.pop(0) if self.script else None)
        if isinstance(answer, Exception):
            raise answer
        receipt = answer(events) if answer else Receipt(len(events))
        dead = {letter.event.id for letter in receipt.dead}
        self.received += [e for e in events[: receipt.acknowledged] if e.id not in dead]
        return receipt

    async def search(self, query: Query) -> Page:
        """All that was received, repeats included."""
        return Page(len(self.received), [event.to_json() for event in self.received])

    async def probe(self) -> str:
        """Always well."""
        return "scripted"

    async def close(self) -> None:
        """Remember it."""
        self.closed = True
