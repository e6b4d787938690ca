"""What the sync counts; `side` is configuration or runtime."""

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "ACTIONS",
    "BYTES",
    "CONFLICTS",
    "CONFLICTS_KEPT",
    "FAILURES",
    "HELD",
    "LAST_SUCCESS",
    "LOST_HINTS",
    "PENDING",
    "PUSH_SECONDS",
    "SCAN_SECONDS",
]

ACTIONS = Counter(
    "harmony_agent_sync_actions", "Files dealt with, by what was done.", ["side", "act"]
)
FAILURES = Counter(
    "harmony_agent_sync_failures", "Actions that failed and are tried again.", ["side"]
)
BYTES = Counter(
    "harmony_agent_sync_bytes",
    "Bytes of files moved to (sent) and from (received) the repository.",
    ["side", "direction"],
)
CONFLICTS = Counter(
    "harmony_agent_sync_conflicts", "Versions of this node that were put into the conflict store."
)
CONFLICTS_KEPT = Gauge(
    "harmony_agent_sync_conflicts_kept", "Versions in the conflict store, of all nodes."
)
PENDING = Gauge(
    "harmony_agent_sync_pending_files", "Local changes not in the repository yet.", ["side"]
)
HELD = Gauge(
    "harmony_agent_sync_held_files",
    "Files kept as they are on both sides, with a reason.",
    ["side"],
)
LAST_SUCCESS = Gauge(
    "harmony_agent_sync_last_success_timestamp_seconds",
    "When home was last found fully in step.",
    ["side"],
)
SCAN_SECONDS = Histogram(
    "harmony_agent_sync_scan_seconds",
    "How long looking at the whole home took.",
    ["side"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60),
)
PUSH_SECONDS = Histogram(
    "harmony_agent_sync_push_seconds",
    "From noticing a local change to having it in the repository.",
    ["side"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
)
LOST_HINTS = Counter(
    "harmony_agent_sync_lost_hints",
    "Times the kernel lost change events; home was rescanned.",
    ["side"],
)
