"""What the integration tests of the sync share."""

from pathlib import Path

import pytest

from tests.integration.sync.disk import Disk, make_disk


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """A home, a state directory and a file repository, all empty."""
    return make_disk(tmp_path)
