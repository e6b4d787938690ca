"""The agent's HTTP side, without sockets."""
