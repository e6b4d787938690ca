"""What the system tests share."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest


@pytest.fixture
def read_only() -> Callable[[Path], AbstractContextManager[None]]:
    """A block in which a directory is mounted read-only; permissions would not stop root."""

    @contextmanager
    def mounted(directory: Path) -> Iterator[None]:
        subprocess.run(["mount", "--bind", directory, directory], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
            yield
        finally:
            subprocess.run(["umount", directory], check=True)

    return mounted
