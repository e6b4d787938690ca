"""The tests: unit (seconds), integration (real servers), system (the agent as a process)."""
