"""What the integration tests of the sync share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harmony_agent.settings.model import SyncSettings
from tests.integration.repositories.conftest import azurite, gcs, make_backend, samba, seaweedfs
from tests.integration.sync.by_wire import Pods, pods_by_wire
from tests.integration.sync.disk import Disk, make_disk
from tests.integration.sync.node import QUICK, Node
from tests.system.conftest import small_disk

__all__ = ["MakeNodes", "azurite", "gcs", "samba", "seaweedfs", "small_disk"]

MakeNodes = Callable[..., list[Node]]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """A home, a state directory and a file repository, all empty."""
    return make_disk(tmp_path)


@pytest.fixture
def make_nodes(request: pytest.FixtureRequest, tmp_path: Path) -> MakeNodes:
    """Makes nodes that share a new system of a backend: `make_nodes(kind, count)`; `sync` are
    their settings, anything else changes the backend's."""

    def make(kind: str, count: int = 1, sync: SyncSettings = QUICK, **changes: Any) -> list[Node]:
        backend = make_backend(kind, request, tmp_path)
        settings = backend.settings(**changes)
        names = (f"node-{number + 1}" for number in range(count))
        return [Node(tmp_path / name, settings, backend.system, sync) for name in names]

    return make


@pytest.fixture
def pods(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pods]:
    """Pods of a new system that reach the backend `kind`, a parameter of the test, by a wire."""
    with pods_by_wire(kind, request, tmp_path) as made:
        yield made
