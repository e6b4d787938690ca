"""What the log stream counts."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "BEHIND",
    "DAMAGED",
    "DEAD",
    "DEAD_DROPPED",
    "DEAD_KEPT",
    "DELIVERED",
    "FAILED",
    "GAPS",
    "LAG",
    "LOST_BYTES",
    "PARKED",
    "PARKED_NOW",
    "SEND_SECONDS",
]

DELIVERED: Final = Counter(
    "harmony_agent_log_events_delivered_total", "Log events that the log system acknowledged."
)
DEAD: Final = Counter(
    "harmony_agent_log_dead_letters_total",
    "Log events that the log system will never take; kept as dead letters.",
)
DEAD_KEPT: Final = Gauge(
    "harmony_agent_log_dead_letters_kept", "Dead letters that are kept for a person to look at."
)
DEAD_DROPPED: Final = Counter(
    "harmony_agent_log_dead_letters_dropped_total",
    "Dead letters that had to make room for newer ones.",
)
GAPS: Final = Counter(
    "harmony_agent_log_gaps_total",
    "Times that a log was gone, with its archive, before it was read to its end.",
)
LOST_BYTES: Final = Counter(
    "harmony_agent_log_lost_bytes_total",
    "Bytes of Harmony's log that were gone before they were read, as far as is known.",
)
DAMAGED: Final = Counter(
    "harmony_agent_log_damaged_events_total",
    "Events of Harmony's log that could not be read as they should be.",
    ["kind"],
)
FAILED: Final = Counter(
    "harmony_agent_log_deliveries_failed_total",
    "Deliveries that have to be tried again.",
    ["reason"],
)
PARKED: Final = Counter(
    "harmony_agent_log_events_parked_total",
    "Log events copied to the runtime repository because they could not be delivered in time.",
)
PARKED_NOW: Final = Gauge(
    "harmony_agent_log_parked_events",
    "Undelivered log events of this node that lie in the runtime repository.",
)
BEHIND: Final = Gauge(
    "harmony_agent_log_pending_bytes", "Bytes of the log that are not delivered yet."
)
LAG: Final = Gauge(
    "harmony_agent_log_lag_seconds",
    "Age of the oldest event that was read and is not delivered yet; 0 if there is none.",
)
SEND_SECONDS: Final = Histogram(
    "harmony_agent_log_send_seconds", "Time a delivery took, successful or not."
)
