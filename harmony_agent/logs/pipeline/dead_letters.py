"""Events that a log system will never take: kept in a file for a person to look at."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from harmony_agent.core.errors import Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.logs.systems.interface import DeadLetter

__all__ = ["DeadLetters"]

_LIMIT = 30.0  # seconds for a call; a local disk
_LARGEST = 64 * 1024 * 1024  # bytes of one file; the one before is kept besides


class DeadLetters:
    """`dead-letters.jsonl` in the state directory, one event and its reason a line.

    Once it has grown large it becomes `dead-letters.1.jsonl`, in place of the one before.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "dead-letters.jsonl"
        self._workers = Workers("dead-letters", 1)

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Append `letters` durably. Raises Unavailable if they can't be kept."""
        await self._workers.run(_LIMIT, self._append, letters)

    def close(self) -> None:
        """Give back the thread."""
        self._workers.close()

    def _append(self, letters: Sequence[DeadLetter]) -> None:
        kept = time.time()
        lines = b"".join(
            orjson.dumps(
                {"kept": kept, "reason": letter.reason, "event": letter.event.to_json()},
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for letter in letters
        )
        try:
            if self._path.exists() and self._path.stat().st_size > _LARGEST:
                self._path.replace(self._path.with_suffix(".1.jsonl"))
            with os.fdopen(
                os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab"
            ) as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Unavailable(
                f"{self._path} can't be written: {error.strerror}; "
                "see that its volume is writable and not full"
            ) from error
