"""The end of the log stream: when what is left is parked."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from harmony_agent.agent import streaming
from harmony_agent.agent.storage import Storage
from harmony_agent.agent.streaming import Streaming
from harmony_agent.lifecycle.drain import Deadline
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings.load import load
from harmony_agent.settings.model import Settings
from tests.unit.sync.memory_repository import MemoryRepository


class Stream:
    """A log stream that leaves `left` when it is drained."""

    def __init__(self, left: int | None, parked: int) -> None:
        self.left = left
        self.parked = parked
        self.delivers = True
        self.rests: list[bool] = []

    async def drain(self, seconds: float) -> int | None:
        """See LogStream."""
        return self.left

    async def park_rest(self, folder: object, announce: object, *, rest: bool) -> None:
        """See LogStream."""
        self.rests.append(rest)


class Root:
    """A runtime repository that is ours."""

    async def own_runtime(self) -> Repository:
        """See Storage."""
        return MemoryRepository()

    def may_write_runtime(self) -> bool:
        """See Storage."""
        return True

    @contextlib.asynccontextmanager
    async def visit(self, node: str | None) -> AsyncIterator[Repository]:
        """See Storage."""
        yield MemoryRepository()


def settings(folder: Path) -> Settings:
    """Settings with a log stream into the local store."""
    environ = {
        "CLEO_SYSTEM_NAME": "System1",
        "CLEO_SECRETS_MOUNT_POINT": str(folder),
        "HARMONY_AGENT_HOST": "node-1",
        "HARMONY_AGENT_HOME": str(folder),
        "HARMONY_AGENT_STATE_DIR": str(folder),
        "HARMONY_AGENT_SIGNAL_DIR": str(folder),
        "HARMONY_AGENT_CONFIG_SYNC": "off",
        "HARMONY_AGENT_RUNTIME_MIRROR": "off",
        "HARMONY_AGENT_LICENSE": "off",
    }
    return load(environ, {})[0]


@pytest.mark.parametrize(
    ("left", "parked", "rests"),
    [
        (None, 0, []),
        (None, 5, [False]),  # what was parked before is deleted now
        (7, 0, [True]),
        (0, 0, [True]),  # nobody knows how much: the log could not be read to its end
    ],
)
async def test_what_was_not_delivered_to_the_end_is_parked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    left: int | None,
    parked: int,
    rests: list[bool],
) -> None:
    """Whether it could be counted or not; a log that was delivered leaves nothing to park."""
    stream = Stream(left, parked)

    def build(**_: Any) -> Stream:
        return stream

    monkeypatch.setattr(streaming, "LogStream", build)
    storage = cast("Storage", Root())
    ending = Streaming(settings(tmp_path), Health(), serial=lambda: None, storage=storage)
    await ending.drain(Deadline(10))
    assert stream.rests == rests
