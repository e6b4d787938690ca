"""The log stream as a process of its own, with a log system that fails at random.

    python -m tests.integration.logs.streaming_process HOME STATE_DIR RECEIVED

Each acknowledged event's id and message are appended to RECEIVED before the acknowledgment.
"""

import asyncio
import logging
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from harmony_agent.core.errors import Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.logs.event import Event
from harmony_agent.logs.query import Page, Query
from harmony_agent.logs.stream import LogStream
from harmony_agent.logs.systems.interface import Limits, LogSystem, Receipt


class FlakyFile(LogSystem):
    """Takes whole batches, parts of them, or none; sometimes it takes one and says it did not."""

    kind = "flaky"
    limits = Limits(entries=50, size=1024 * 1024)

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def send(self, events: Sequence[Event]) -> Receipt:
        """Roll the dice."""
        await asyncio.sleep(random.random() * 0.002)
        dice = random.random()
        if dice < 0.1:
            raise Unavailable("busy", retry_after=0.001)
        taken = len(events) if dice < 0.8 else random.randint(1, len(events))
        lines = [orjson.dumps([e.id, e.message]) + b"\n" for e in events[:taken]]
        os.write(self._file, b"".join(lines))
        if dice > 0.97:
            raise Unavailable("the answer was lost", retry_after=0.001)
        return Receipt(taken)

    async def search(self, query: Query) -> Page:
        """Not needed here."""
        raise NotImplementedError

    async def probe(self) -> str:
        """Not needed here."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the file."""
        os.close(self._file)


async def main(home: str, state_dir: str, received: str) -> None:
    """Stream until killed."""
    logging.disable()
    await LogStream(
        home=Path(home),
        system="S",
        node="n",
        serial=lambda: None,
        state_dir=Path(state_dir),
        log_system=FlakyFile(Path(received)),
        health=Health(),
        time_zone="UTC",
    ).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
