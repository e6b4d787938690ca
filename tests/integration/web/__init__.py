"""The agent's HTTP side on real sockets."""
