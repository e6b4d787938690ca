"""Harmony's home and the repositories in step: compare (pure), plan, apply; two policies."""
