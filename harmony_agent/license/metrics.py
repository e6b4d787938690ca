"""Metrics of the license."""

from typing import Final

from prometheus_client import Counter, Gauge

__all__ = [
    "GRACE_REMAINING",
    "LAST_SUCCESS",
    "MAILS",
    "RECORD_ALARMS",
    "STATE",
    "TICKETS",
    "VERIFICATIONS",
]

STATE: Final = Gauge(
    "harmony_agent_license_state", "1 for the state the license is in, 0 for the others", ["state"]
)
GRACE_REMAINING: Final = Gauge(
    "harmony_agent_license_grace_remaining_seconds",
    "What is left of the grace period; NaN outside of it",
)
LAST_SUCCESS: Final = Gauge(
    "harmony_agent_license_last_success_timestamp_seconds",
    "Last verification by any node of the system, as far as this one knows",
)
VERIFICATIONS: Final = Counter(
    "harmony_agent_license_verifications_total",
    "Attempts to verify the license: verified, refused, cleo or customer (unreachable: whose side)",
    ["result"],
)
MAILS: Final = Counter(
    "harmony_agent_license_mails_total",
    "Attempts to mail the administrator: sent or failed",
    ["result"],
)
TICKETS: Final = Counter(
    "harmony_agent_license_tickets_total",
    "Attempts to open a ticket at Cleo: opened or failed",
    ["result"],
)
RECORD_ALARMS: Final = Counter(
    "harmony_agent_license_record_alarms_total",
    "License records whose protection failed: changed by somebody else",
)
