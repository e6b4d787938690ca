"""Podman and the image, built once."""

import sys
from pathlib import Path

import pytest

from fixtures.container import Podman

ROOT = Path(__file__).parents[3]
IMAGE = "localhost/harmony-agent:test"


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    """Podman with the image built by it."""
    podman = Podman(tmp_path_factory.mktemp("podman"))
    if missing := podman.missing():
        # Loud: without this nobody would notice that the image went untested.
        sys.__stderr__.write(f"\nTHE IMAGE IS NOT TESTED: {missing}\n")  # type: ignore[union-attr]
        pytest.skip(missing)
    podman.build(ROOT, IMAGE)
    return podman


@pytest.fixture
def signals(tmp_path: Path) -> Path:
    """A signal directory on the host that any user in a container can write."""
    directory = tmp_path / "signals"
    directory.mkdir()
    directory.chmod(0o777)
    return directory
