"""What the tests of the sync share."""

from pathlib import Path

import pytest

from tests.unit.sync.bench import Bench
from tests.unit.sync.memory_repository import MemoryRepository
from tests.unit.sync.stock import Node, stock


@pytest.fixture
def repository() -> MemoryRepository:
    """A repository in memory."""
    return MemoryRepository()


@pytest.fixture
def node(tmp_path: Path, repository: MemoryRepository) -> Node:
    """Makes a node with a home of its own on the shared repository. Use it in async tests."""
    return lambda name: Bench(tmp_path / name, repository)


@pytest.fixture
async def first(node: Node) -> Bench:
    """A node whose home holds the files that Harmony's image brings along."""
    first = node("first")
    stock(first)
    return first
