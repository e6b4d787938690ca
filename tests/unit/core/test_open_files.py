"""The process may open as many files as its work takes."""

import subprocess
import sys

import pytest

_SCRIPT = """
import resource
from harmony_agent.core.open_files import allow_many_files
allow_many_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("limits", "after"),
    [("-S -n 256", "4096"), ("-n 300", "300"), ("-S -n 5000", "5000")],
    ids=["low", "no more is allowed", "high enough"],
)
def test_a_low_limit_is_raised_as_far_as_is_allowed(limits: str, after: str) -> None:
    """Never lowered, and no error where it can't be raised."""
    ran = subprocess.run(
        ["bash", "-c", f'ulimit {limits} && exec "$0" -c "$1"', sys.executable, _SCRIPT],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split()[0] == after
