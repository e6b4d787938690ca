"""What delivery to a remote log system counts."""

from prometheus_client import Counter

from harmony_agent.logs.systems.delivery import Outcome

__all__ = ["note"]

_REQUESTS = Counter(
    "harmony_agent_log_system_requests_total",
    "Delivery requests by what the log system's answer meant.",
    ["system", "outcome"],
)


def note(system: str, outcome: Outcome) -> None:
    """Count one answered request to `system` (splunk, datadog)."""
    _REQUESTS.labels(system, outcome.name.lower()).inc()
