"""The agent: root tasks, directories."""
