"""Two pods that bear one node's name, on object stores: as test_two_pods.py, and beside it."""

from pathlib import Path

import pytest

from tests.integration.sync.two_pods import pods_of_one_name, take_turns

pytestmark = pytest.mark.server


@pytest.mark.parametrize("kind", ["s3", "azureblob", "gcpbucket"])
def test_pods_of_one_name_take_turns(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Killed, waiting, paused and fenced: see take_turns."""
    take_turns(pods_of_one_name(kind, request, tmp_path))
