"""Layout, proof, lease, breaker and names, without a server."""
