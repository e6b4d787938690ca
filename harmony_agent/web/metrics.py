"""`/metrics`: what all parts count, and the conditions as they are at the moment of the scrape."""

import platform
from collections.abc import Iterator
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from harmony_agent import __version__
from harmony_agent.lifecycle.health import Health, Level

__all__ = ["ANSWERS", "CONTENT_TYPE", "Exposition"]

# What generate_latest writes by default; every Prometheus reads it.
CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

ANSWERS: Final = Counter(
    "harmony_agent_api_answers_total",
    "Answers of status, log API, page and control socket, by endpoint and HTTP status",
    ["endpoint", "code"],
)


class _HealthCollector(Collector):
    """Reads Health when asked, so that nothing has to be kept in step."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily(
            "harmony_agent_build_info",
            "Always 1; the labels tell what runs",
            labels=["version", "python"],
        )
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        yield GaugeMetricFamily(
            "harmony_agent_started", "1 once startup is done", self._health.started
        )
        yield GaugeMetricFamily(
            "harmony_agent_harmony_may_run",
            "0 once the license is refused or its grace period is over",
            self._health.harmony_may_run,
        )
        yield self._conditions()
        yield self._loops()

    def _conditions(self) -> Metric:
        family = GaugeMetricFamily(
            "harmony_agent_condition",
            "1 for the level each line of /readyz is at, 0 for the others",
            labels=["name", "level"],
        )
        for condition in self._health.conditions():
            for level in Level:
                family.add_metric([condition.name, level], condition.level is level)
        return family

    def _loops(self) -> Metric:
        family = GaugeMetricFamily(
            "harmony_agent_loop_stalled",
            "1 for a loop of the agent that stands still (then /livez fails)",
            labels=["loop"],
        )
        for loop in self._health.stalled():
            family.add_metric([loop.name], loop.level is Level.FAILED)
        return family


class Exposition:
    """The text of `/metrics` for one Health."""

    def __init__(self, health: Health) -> None:
        # Not in the process-wide registry: it refuses a second collector of the same names, and
        # a process (a test, at least) may hold more than one Health.
        self._own = CollectorRegistry()
        self._own.register(_HealthCollector(health))

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._own) + generate_latest(REGISTRY)
