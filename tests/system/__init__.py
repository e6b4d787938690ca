"""The agent as a process, as its user runs it."""
