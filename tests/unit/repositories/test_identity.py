"""The identity lives as long as the state directory."""

import os
from pathlib import Path

import pytest

from harmony_agent.core.errors import Refused
from harmony_agent.repositories.identity import own_identity


def test_the_identity_stays_and_differs_between_directories(tmp_path: Path) -> None:
    """The second call gives the first one's; another directory gives another."""
    other = tmp_path / "other"
    other.mkdir()
    assert own_identity(tmp_path) == own_identity(tmp_path)
    assert own_identity(tmp_path) != own_identity(other)


def test_a_broken_file_is_replaced(tmp_path: Path) -> None:
    """An empty or garbled file does not stop the agent."""
    (tmp_path / "identity").write_text("garbage")
    made = own_identity(tmp_path)
    assert len(made) == 36
    assert own_identity(tmp_path) == made


def test_a_directory_that_can_not_be_used_is_told(tmp_path: Path) -> None:
    """A message for a person, not a traceback."""
    (tmp_path / "identity").mkdir()
    with pytest.raises(Refused, match=f"{tmp_path}{os.sep}identity can't be used"):
        own_identity(tmp_path)
