"""The mark in Harmony's home that ties a base to it.

Without it a volume that is new, or not mounted, would look as if everything in it had been
deleted. The mark also outlives the state directory: it tells that Harmony may have run here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from harmony_agent.core.durable import write_durably
from harmony_agent.core.errors import Unavailable
from harmony_agent.repositories.layout import CONTROL
from harmony_agent.sync.home.local_errors import local_errors

__all__ = ["HomeMark"]

_FOLDER_MODE: Final = 0o750


@dataclass(frozen=True, slots=True)
class _Content:
    base: str
    complete: bool


class HomeMark:
    """One side's mark: the identity of its base, and whether a first pull was ever completed here.

    Blocking. All methods raise the errors of `local_errors`.
    """

    def __init__(self, home: Path, side: str) -> None:
        self._path = home / CONTROL / f"sync-{side}.json"
        self._expected: str | None = None

    def begin(self, base: str) -> bool:
        """Whether this home bears the mark of `base`; from now on `verify` demands it."""
        self._expected = base
        content = self._read()
        return content is not None and content.base == base

    def was_completed(self) -> bool:
        """Whether a first pull was completed in this home, with this base or another."""
        content = self._read()
        return content is not None and content.complete

    def put(self, base: str, *, complete: bool) -> None:
        """Mark home as that of `base`."""
        with local_errors(self._path):
            self._path.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            write_durably(
                self._path, orjson.dumps({"base": base, "complete": complete}), mode=0o640
            )
        self._expected = base

    def verify(self) -> None:
        """Raises Unavailable if home does not bear the mark: nothing may be concluded from it."""
        content = self._read()
        if content is None or content.base != self._expected:
            raise Unavailable(
                f"{self._path} is missing or another: home is not the volume it was; mount the "
                "right one, or restart the agent to take this one as new"
            )

    def _read(self) -> _Content | None:
        with local_errors(self._path):
            try:
                body = orjson.loads(self._path.read_bytes())
                return _Content(body["base"], body["complete"])
            except (FileNotFoundError, ValueError, LookupError, TypeError):
                return None
