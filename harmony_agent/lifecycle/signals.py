"""The files shared with Harmony's container: `ready`, `running`, `exit` (design, section 2)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from harmony_agent.core.durable import write_durably

__all__ = ["EXIT_CODE_LICENSE", "ExitSignal", "SignalDirectory"]

EXIT_CODE_LICENSE = 77


@dataclass(frozen=True, slots=True)
class ExitSignal:
    """Why Harmony has to end: a short word, a sentence for a person, the exit code."""

    reason: str
    message: str
    code: int = EXIT_CODE_LICENSE


class SignalDirectory:
    """The volume shared with Harmony's container. Raises OSError if it can't be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ready = path / "ready"
        self._running = path / "running"
        self._exit = path / "exit"

    def tell_ready(self) -> None:
        """Harmony may start."""
        # Other users have to read it: Harmony's container may run under another UID.
        write_durably(self._ready, b"", mode=0o644, durable=False)

    def withdraw_ready(self) -> None:
        """Harmony must wait again (a new start of this agent is not done yet)."""
        self._ready.unlink(missing_ok=True)

    def is_ready(self) -> bool:
        """Whether `ready` stands."""
        return self._ready.exists()

    def harmony_runs(self) -> bool:
        """Whether `running` exists, which harmony-guard keeps while Harmony lives."""
        return self._running.exists()

    def tell_exit(self, signal: ExitSignal) -> None:
        """Harmony must end and must not start again."""
        body = {
            "reason": signal.reason,
            "message": signal.message,
            "code": signal.code,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_durably(self._exit, orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE), mode=0o644)

    def clear_exit(self) -> None:
        """A later valid verification takes the exit back."""
        self._exit.unlink(missing_ok=True)

    def exit_told(self) -> bool:
        """Whether `exit` stands."""
        return self._exit.exists()
