"""What the repositories count."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

__all__ = ["BREAKER_OPEN", "LEASE_HELD", "OPERATIONS", "SECONDS"]

OPERATIONS: Final = Counter(
    "harmony_agent_repository_operations_total",
    "Operations on a repository by result",
    ["repository", "operation", "result"],
)
SECONDS: Final = Histogram(
    "harmony_agent_repository_operation_seconds",
    "Time of operations on a repository",
    ["repository", "operation"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60),
)
BREAKER_OPEN: Final = Gauge(
    "harmony_agent_repository_circuit_open",
    "1 while a repository failed so often that operations are refused at once",
    ["repository"],
)
LEASE_HELD: Final = Gauge(
    "harmony_agent_lease_held", "1 while this node may write in its runtime folder"
)
