"""Harmony has to end: told in a fixed order, each step even if the one before failed."""

import logging

from harmony_agent.lifecycle.harmony_process import terminate
from harmony_agent.lifecycle.health import Health
from harmony_agent.lifecycle.signals import ExitSignal, SignalDirectory

__all__ = ["announce_exit", "withdraw_exit"]

log = logging.getLogger(__name__)


def announce_exit(
    signal: ExitSignal, health: Health, directory: SignalDirectory, process_pattern: str | None
) -> bool:
    """Tell Harmony's container to end (design, "Exit"): own log, probe, file, process.

    Returns whether the `exit` file could be written; if not (disk full, volume gone) the caller
    tries again while draining.
    """
    log.critical("Harmony has to end: %s", signal.message, extra={"reason": signal.reason})
    health.harmony_may_run = False
    health.fail("license", signal.message)
    written = _write(signal, directory)
    if process_pattern:
        try:
            pids = terminate(process_pattern)
        except PermissionError:
            log.error(
                "Harmony's process belongs to another user and can't be signaled: "
                "run the agent under Harmony's UID"
            )
        else:
            log.warning("sent SIGTERM to Harmony's process", extra={"pids": pids})
    return written


def _write(signal: ExitSignal, directory: SignalDirectory) -> bool:
    try:
        directory.tell_exit(signal)
    except OSError as error:
        log.critical("the exit file can't be written in %s: %s", directory.path, error.strerror)
        return False
    return True


def withdraw_exit(health: Health, directory: SignalDirectory) -> None:
    """A valid verification takes an earlier exit back."""
    health.harmony_may_run = True
    if not directory.exit_told():
        return
    try:
        directory.clear_exit()
    except OSError as error:
        log.error(
            "the exit file in %s can't be removed, and Harmony does not start beside it: %s; "
            "remove it by hand",
            directory.path,
            error.strerror,
        )
    else:
        log.info("the license is verified again: Harmony may start")
