"""Sync: what belongs where, what follows from three views, what is done about it."""
