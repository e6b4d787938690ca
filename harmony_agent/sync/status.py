"""What one side tells people: its line in /readyz, its section in /api/status, its own log."""

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from harmony_agent.core.errors import AgentError
from harmony_agent.lifecycle.health import Health
from harmony_agent.sync import metrics
from harmony_agent.sync.decisions.policies import Verdict
from harmony_agent.sync.engine import Report
from harmony_agent.sync.progress import Progress

__all__ = ["Status", "as_json", "shown"]

log = logging.getLogger(__name__)

_SHOWN: Final = 20  # files of a list that are named


def shown(path: str) -> str:
    """`path` in characters that can be printed: names may hold bytes that are no text."""
    return path.encode(errors="backslashreplace").decode()


def as_json(report: Report, *, dry_run: bool) -> dict[str, Any]:
    """A report for `sync --once`: files by what was (or would be) done, held and failed ones."""
    done: dict[str, list[str]] = {}
    acts = {action.path: action.act for action in report.plan.actions} if dry_run else report.done
    for path, act in sorted(acts.items()):
        done.setdefault(act.value, []).append(shown(path))
    return {
        "planned" if dry_run else "done": done,
        "held": {shown(path): held.reason for path, held in sorted(report.plan.held.items())},
        "waiting": sorted(map(shown, {*report.plan.restless, *report.plan.unsure})),
        "unconfirmed": sorted(map(shown, report.plan.unconfirmed)),
        "failed": {shown(path): str(error) for path, error in sorted(report.failures.items())},
    }


class Status:
    """Keeps what was last found out about one side, and tells what is new."""

    def __init__(self, side: str, health: Health, progress: Progress) -> None:
        self._side = side
        self._health = health
        self._progress = progress
        self._phase = "starting"
        self._pending: set[str] = set()
        self._held: dict[str, Verdict] = {}
        self._failures: dict[str, AgentError] = {}
        self._trouble = ""
        self._last_success: float | None = None
        self._sent = self._received = 0
        health.sections[side] = self.section

    @property
    def pending(self) -> set[str]:
        """Files that were not in step when last looked."""
        return self._pending

    @property
    def trouble(self) -> str:
        """What was last told to hinder, for a person; empty if nothing does."""
        return self._trouble

    def enter(self, phase: str) -> None:
        """A new phase of life has begun."""
        self._phase = phase

    def began(self) -> None:
        """A pass begins."""
        self._progress.began()

    def finished(self, report: Report, notice: str | None, *, goes_on: bool = False) -> None:
        """A pass, or with `goes_on` a round of one, ended with `report`; `notice` is what hinders
        without stopping it."""
        if not goes_on:
            self._progress.ended()
        self._tell_held(report.plan.held)
        self._tell_failures(report.failures)
        self._held = report.plan.held
        self._failures = report.failures
        self._pending = report.pending
        self._sent += report.sent
        self._received += report.received
        self._trouble = ""
        metrics.HELD.labels(self._side).set(len(self._held))
        metrics.PENDING.labels(self._side).set(len(self._pending))
        if not self._pending:
            self._last_success = time.time()
            metrics.LAST_SUCCESS.labels(self._side).set(self._last_success)
        self._report_health(notice)

    def failed(self, error: AgentError) -> None:
        """A pass could not be made at all; it is tried again."""
        self._progress.ended()
        if str(error) != self._trouble:
            log.warning("%s: %s", self._side, error)
        self._trouble = str(error)
        self._health.trouble(self._side, self._trouble)

    def section(self) -> Mapping[str, Any]:
        """The side's share of /api/status."""
        return {
            "phase": self._phase,
            "lastSuccess": _rfc3339(self._last_success),
            "pending": len(self._pending),
            "progress": self._progress.section(),
            "sentBytes": self._sent,
            "receivedBytes": self._received,
            "heldCount": len(self._held),
            "held": _first({path: held.reason for path, held in self._held.items()}),
            "failed": _first({path: str(error) for path, error in self._failures.items()}),
            "trouble": self._trouble,
        }

    def _tell_held(self, held: Mapping[str, Verdict]) -> None:
        new = {path: v for path, v in held.items() if self._held.get(path) != v}
        alarms = {path: v.reason for path, v in new.items() if v.alarm}
        for path, reason in _first(alarms).items():
            log.warning("%s: a file is held: %s", self._side, reason, extra={"file": path})
        if len(alarms) > _SHOWN:
            log.warning("%s: %d files are held, the first were named", self._side, len(alarms))
        waiting = sorted(shown(path) for path, v in new.items() if not v.alarm)
        if waiting:
            log.info(
                "%s: %d files wait: %s",
                self._side,
                len(waiting),
                held[next(path for path, v in new.items() if not v.alarm)].reason,
                extra={"files": waiting[:_SHOWN]},
            )

    def _tell_failures(self, failures: Mapping[str, AgentError]) -> None:
        new = {p: str(e) for p, e in failures.items() if str(e) != str(self._failures.get(p))}
        for path, message in _first(new).items():
            log.warning("%s: a file failed: %s", self._side, message, extra={"file": path})

    def _report_health(self, notice: str | None) -> None:
        alarms = [path for path, verdict in self._held.items() if verdict.alarm]
        if self._failures:
            path, error = min(self._failures.items())
            self._trouble = f"{len(self._failures)} files fail, {shown(path)} with: {error}"
        elif alarms:
            path = min(alarms)
            self._trouble = (
                f"{len(alarms)} files are held, {shown(path)}: {self._held[path].reason}"
            )
        elif notice is not None:
            self._trouble = notice
        if self._trouble:
            self._health.trouble(self._side, self._trouble)
        else:
            waiting = f"{len(self._held)} files wait in the repository" if self._held else ""
            self._health.ok(self._side, waiting)


def _first(messages: Mapping[str, str]) -> dict[str, str]:
    return {shown(path): messages[path] for path in sorted(messages)[:_SHOWN]}


def _rfc3339(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
