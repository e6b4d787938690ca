"""Lifecycle: probes' state, signal files, drain, own log."""
