"""harmony-guard with real processes."""
