"""What the agent tells others about its life: probes' state, signal files, drain, own log."""
