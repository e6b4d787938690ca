"""The local directories: there, writable, and ours alone."""

import errno
import fcntl
import logging
import os
from pathlib import Path
from typing import Final

from harmony_agent.core.durable import sweep, write_durably
from harmony_agent.core.errors import Refused
from harmony_agent.repositories.layout import CONTROL
from harmony_agent.settings.model import Settings
from harmony_agent.settings.report import Report, SettingsError

__all__ = ["StateLock", "check_directories", "sweep_directories"]

log = logging.getLogger(__name__)

_MODE: Final = 0o750


def check_directories(settings: Settings) -> None:
    """Make the state and signal directories where they are missing and prove all three usable.

    A full disk is no mistake of the settings: the parts tell and retry. Raises SettingsError.
    """
    report = Report()
    if not settings.home.is_dir():
        report.mistake(
            "environment",
            "HARMONY_AGENT_HOME",
            f"{settings.home} is not a directory",
            "mount the volume that holds Harmony's directory there",
        )
    else:
        _check_writable(settings.home, "HARMONY_AGENT_HOME", report)
    for path, key in (
        (settings.state_dir, "HARMONY_AGENT_STATE_DIR"),
        (settings.signal_dir, "HARMONY_AGENT_SIGNAL_DIR"),
    ):
        try:
            path.mkdir(mode=_MODE, parents=True, exist_ok=True)
        except OSError as error:
            report.mistake(
                "environment",
                key,
                f"{path} can't be made: {error.strerror}",
                "mount a writable volume there",
            )
        else:
            _check_writable(path, key, report)
    if report.mistakes:
        raise SettingsError(report.mistakes)


def sweep_directories(settings: Settings) -> None:
    """Remove temporary files that a killed agent left in its own directories; those among
    Harmony's files are left to the sync. Only with the StateLock held."""
    own = (settings.state_dir, settings.signal_dir, settings.home / CONTROL)
    removed = sum(sweep(directory) for directory in own)
    if removed:
        log.info("removed temporary files of an agent that was killed", extra={"files": removed})


def _check_writable(path: Path, key: str, report: Report) -> None:
    probe = path / f".harmony-agent-probe-{os.getpid()}"
    try:
        write_durably(probe, b"", durable=False)
        probe.unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return
        report.mistake(
            "environment",
            key,
            f"{path} can't be written: {error.strerror}",
            f"make it writable for user {os.geteuid()} and group {os.getegid()}",
        )


class StateLock:
    """Held while an agent uses a state directory; the kernel frees it when the process ends."""

    def __init__(self, state_dir: Path) -> None:
        """Raises Refused if another agent holds it."""
        self._handle = os.open(state_dir / "agent.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._handle)
            raise Refused(
                f"another harmony-agent runs with the state directory {state_dir}; "
                "give each its own HARMONY_AGENT_STATE_DIR"
            ) from error

    def release(self) -> None:
        """Let another agent use the directory."""
        os.close(self._handle)
