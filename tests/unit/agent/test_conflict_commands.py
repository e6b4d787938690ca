"""What the control commands about conflicts say when there is nothing to ask yet."""

from pathlib import Path

import pytest

from fixtures.samples import write_secrets
from harmony_agent.agent.agent import Agent
from harmony_agent.agent.storage import Storage
from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.settings.load import load
from harmony_agent.settings.model import Settings


def _settings(folder: Path, **more: str) -> Settings:
    repository = f"type: file\nconnectorProperties:\n  rootPath: {folder}\n"
    write_secrets(folder, cleo_config_repo=repository)
    environ = {
        "CLEO_SYSTEM_NAME": "System1",
        "CLEO_SECRETS_MOUNT_POINT": str(folder),
        "HARMONY_AGENT_HOST": "node-1",
        "HARMONY_AGENT_HOME": str(folder),
        "HARMONY_AGENT_STATE_DIR": str(folder),
        "HARMONY_AGENT_SIGNAL_DIR": str(folder),
        "HARMONY_AGENT_RUNTIME_MIRROR": "off",
        "HARMONY_AGENT_LOG_STREAM": "off",
        "HARMONY_AGENT_LICENSE": "off",
        **more,
    }
    return load(environ, {})[0]


def test_without_configuration_sync_there_is_no_conflict_store(tmp_path: Path) -> None:
    """The variable that switched it off is named."""
    settings = _settings(tmp_path, HARMONY_AGENT_CONFIG_SYNC="off")
    with pytest.raises(Refused, match="HARMONY_AGENT_CONFIG_SYNC"):
        Storage(settings, Health(), lambda: False).conflict_desk()


def test_before_the_repository_is_open_it_says_so(tmp_path: Path) -> None:
    """An answer to try again, not a fault."""
    with pytest.raises(Unavailable, match="not open yet"):
        Storage(_settings(tmp_path), Health(), lambda: False).conflict_desk()


async def test_an_agent_that_is_starting_asks_for_patience(tmp_path: Path) -> None:
    """The socket answers before the jobs are built."""
    agent = Agent(_settings(tmp_path), {}, {})
    command = agent._web_parts().commands["conflicts/list"]
    with pytest.raises(Unavailable, match="starting"):
        await command({})
