"""What the tests of the sync share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.sync.bench import Bench
from tests.unit.sync.memory_repository import MemoryRepository


@pytest.fixture
def repository() -> MemoryRepository:
    """A repository in memory."""
    return MemoryRepository()


@pytest.fixture
def node(tmp_path: Path, repository: MemoryRepository) -> Callable[[str], Bench]:
    """Makes a node with a home of its own on the shared repository. Use it in async tests."""
    return lambda name: Bench(tmp_path / name, repository)
