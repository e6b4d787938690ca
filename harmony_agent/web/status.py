"""`GET /api/status`: everything the parts tell about themselves, in one object."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from harmony_agent import __version__
from harmony_agent.lifecycle.health import Health, Level
from harmony_agent.web.answers import starred

__all__ = ["Status"]

log = logging.getLogger(__name__)


class Status:
    """Gathers the status; its uptime counts from when this object was made."""

    def __init__(
        self, health: Health, facts: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._health = health
        self._facts = facts
        self._clock = clock
        self._born = clock()

    def gather(self) -> dict[str, Any]:
        """JSON values, secrets starred: `version`, the facts, `uptimeSeconds`, `live`, `started`,
        `ready`, `harmonyMayRun`, `conditions`, then one object per part by its name."""
        conditions = self._health.conditions()
        status = {
            "version": __version__,
            **self._facts,
            "uptimeSeconds": round(self._clock() - self._born),
            "live": all(loop.level is Level.OK for loop in self._health.stalled()),
            "started": self._health.started,
            "ready": all(condition.level is not Level.FAILED for condition in conditions),
            "harmonyMayRun": self._health.harmony_may_run,
            "conditions": [
                {"name": c.name, "level": c.level.value, "message": c.message} for c in conditions
            ],
        }
        for name, section in sorted(self._health.sections.items()):
            status[name] = _ask(name, section)
        return dict(starred(status))


def _ask(name: str, section: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        return section()
    except Exception:  # one part that can't tell its state must not hide the state of the others
        log.exception("a part can't tell its status", extra={"part": name})
        return {"error": "this part can't tell its status; the agent's own log tells why"}
