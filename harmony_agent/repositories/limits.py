"""How long one operation on a repository may take."""

from typing import Final

__all__ = ["CONNECT", "CONTROL_LIMIT", "DATA_LIMIT", "PARALLEL", "data_limit"]

CONNECT: Final = 5.0
"""Seconds to establish a connection."""
CONTROL_LIMIT: Final = 10.0
"""Seconds for an operation that moves no content."""
DATA_LIMIT: Final = 30.0
"""Seconds without progress for an operation that moves content."""
PARALLEL: Final = 64
"""Operations of one repository that may be under way at once; callers use half of it."""

_SLOWEST: Final = 1024 * 1024  # bytes a second; a slower link can't carry Harmony's files anyway


def data_limit(size: int) -> float:
    """Seconds for writing `size` bytes in one piece."""
    return DATA_LIMIT + size / _SLOWEST
