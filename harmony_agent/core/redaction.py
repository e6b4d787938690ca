"""Secrets replaced by stars in whatever leaves the process."""

import threading

__all__ = ["SHORTEST_SECRET", "conceal", "redact"]

# Shorter values would star out ordinary words; settings refuse credentials this short.
SHORTEST_SECRET = 4

_lock = threading.Lock()
_secrets: tuple[str, ...] = ()


def conceal(*values: str) -> None:
    """Remember secret values; `redact` stars them from now on, also after they were rotated."""
    global _secrets  # noqa: PLW0603 - one process has one set of secrets
    with _lock:
        known = set(_secrets) | {v for v in values if len(v) >= SHORTEST_SECRET}
        # Longest first, so that a secret that contains another leaves no rest behind.
        _secrets = tuple(sorted(known, key=len, reverse=True))


def redact(text: str) -> str:
    """`text` with every known secret replaced by stars."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, "********")
    return text
