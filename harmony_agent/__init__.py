"""Sidecar for Cleo Harmony: repositories, log stream, license check, exit and probes."""

__version__ = "0.1.0"
