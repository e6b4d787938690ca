"""What tests do with HomeFiles."""

import math

from harmony_agent.sync.decisions.states import LocalFile
from harmony_agent.sync.home.files import HomeFiles, SmallArrival

__all__ = ["exchange"]


def exchange(
    files: HomeFiles, path: str, data: bytes, expected: LocalFile, *, keep: bool = False
) -> LocalFile:
    """Have a small file replace the version `expected`; raises what hindered it."""
    (outcome,) = files.exchange_all([SmallArrival(path, data, expected, keep)], math.inf)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
