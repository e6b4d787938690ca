"""Harmony's process in a shared process namespace (`HARMONY_AGENT_SIGNAL_PROCESS`)."""

import contextlib
import os
import re
import signal
from pathlib import Path

__all__ = ["find_processes", "terminate"]


def find_processes(pattern: str, proc: Path = Path("/proc")) -> list[int]:
    """Process ids whose command line (arguments joined by blanks) matches the regular expression
    `pattern`; never this process nor its parents, whose own command line may hold the pattern."""
    wanted = re.compile(pattern)
    own = {os.getpid(), os.getppid()}
    found = []
    for directory in proc.iterdir():
        if not directory.name.isdigit() or int(directory.name) in own:
            continue
        with contextlib.suppress(OSError):  # it ended while we looked
            raw = (directory / "cmdline").read_bytes()
            line = raw.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
            if line and wanted.search(line):
                found.append(int(directory.name))
    return sorted(found)


def terminate(pattern: str) -> list[int]:
    """Send SIGTERM to every process that matches `pattern`; returns those it was sent to.

    Raises PermissionError if one belongs to another user, once all others have got theirs.
    """
    sent, denied = [], None
    for pid in find_processes(pattern):
        with contextlib.suppress(ProcessLookupError):
            try:
                os.kill(pid, signal.SIGTERM)
            except PermissionError as error:
                denied = error
            else:
                sent.append(pid)
    if denied is not None:
        raise denied
    return sent
