"""install-guard puts a whole script where Harmony's container finds it."""

from pathlib import Path

import pytest

from harmony_agent.core.errors import Refused
from harmony_agent.lifecycle.guard import install_guard

SOURCE = Path(__file__).parents[3] / "entrypoint" / "harmony-guard"


def test_copy_is_the_script_and_executable_for_all(tmp_path: Path) -> None:
    """Harmony's container may run under another user."""
    target = install_guard(tmp_path / "volume" / "bin")
    assert target == tmp_path / "volume" / "bin" / "harmony-guard"
    assert target.read_bytes() == SOURCE.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o755


def test_running_copy_is_replaced_not_rewritten(tmp_path: Path) -> None:
    """A shell reads its script while it runs: a new version must not change under it."""
    target = install_guard(tmp_path)
    target.write_text("#!/bin/sh\n# an older version\n")
    with target.open() as running:
        install_guard(tmp_path)
        assert running.read().endswith("older version\n")
    assert target.read_bytes() == SOURCE.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["harmony-guard"]


@pytest.mark.parametrize("blocked", ["directory", "target"])
def test_place_that_cannot_be_used_is_told(tmp_path: Path, blocked: str) -> None:
    """The message says where and what to do, and nothing is left behind."""
    volume = tmp_path / "volume"
    if blocked == "directory":
        volume.write_text("a file where the volume should be")
    else:
        (volume / "harmony-guard").mkdir(parents=True)
    with pytest.raises(Refused, match=f"can't be copied to {volume}: .*; mount a volume there"):
        install_guard(volume)
    assert not list(tmp_path.rglob(".harmony-agent-tmp-*"))
