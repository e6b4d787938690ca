"""Core: what every part stands on."""
