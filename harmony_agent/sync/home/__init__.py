"""Harmony's home: looked at, watched, read and changed."""
