"""The local directories are made, proven and ours alone."""

from pathlib import Path

import pytest

from fixtures.samples import write_secrets
from harmony_agent.agent.directories import StateLock, check_directories, sweep_directories
from harmony_agent.core.durable import temporary_name
from harmony_agent.core.errors import Refused
from harmony_agent.settings.load import load
from harmony_agent.settings.model import Settings
from harmony_agent.settings.report import SettingsError


def settings_for(tmp_path: Path) -> Settings:
    """Settings whose directories lie below `tmp_path`; home exists."""
    (tmp_path / "home").mkdir(exist_ok=True)
    return load(
        {
            "CLEO_SYSTEM_NAME": "S",
            "CLEO_SECRETS_MOUNT_POINT": str(write_secrets(tmp_path / "secrets")),
            "HARMONY_AGENT_HOST": "harmony-1",
            "HARMONY_AGENT_HOME": str(tmp_path / "home"),
            "HARMONY_AGENT_STATE_DIR": str(tmp_path / "a/state"),
            "HARMONY_AGENT_SIGNAL_DIR": str(tmp_path / "a/signals"),
        }
    )[0]


def test_state_and_signal_directories_are_made(tmp_path: Path) -> None:
    """Missing ones are made, and nothing is left in them."""
    settings = settings_for(tmp_path)
    check_directories(settings)
    assert list(settings.state_dir.iterdir()) == []
    assert settings.signal_dir.is_dir()


def test_what_a_killed_agent_was_writing_is_removed(tmp_path: Path) -> None:
    """In the agent's own directories, home's included; nothing else is touched there."""
    settings = settings_for(tmp_path)
    check_directories(settings)
    own = settings.home / ".harmony-agent"
    own.mkdir()
    for directory in (settings.state_dir, settings.signal_dir, own, settings.home):
        (directory / temporary_name()).write_text("half")
        (directory / "whole").write_text("whole")
    sweep_directories(settings)
    for directory in (settings.state_dir, settings.signal_dir, own):
        assert [path.name for path in directory.iterdir()] == ["whole"]
    assert len(list(settings.home.iterdir())) == 3


def test_unusable_directories_are_all_told(tmp_path: Path) -> None:
    """A missing home and two paths blocked by a file are three mistakes of one report."""
    settings = settings_for(tmp_path)
    settings.home.rmdir()
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(SettingsError) as caught:
        check_directories(settings)
    assert {m.key for m in caught.value.mistakes} == {
        "HARMONY_AGENT_HOME",
        "HARMONY_AGENT_STATE_DIR",
        "HARMONY_AGENT_SIGNAL_DIR",
    }


def test_a_state_directory_serves_one_agent_at_a_time(tmp_path: Path) -> None:
    """The second is refused until the first lets go."""
    first = StateLock(tmp_path)
    with pytest.raises(Refused, match="another harmony-agent"):
        StateLock(tmp_path)
    first.release()
    StateLock(tmp_path).release()
