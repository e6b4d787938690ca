"""What can't be delivered before the end waits in the runtime repository."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harmony_agent.core.errors import OutcomeUnknown, PreconditionFailed, Unavailable
from harmony_agent.logs.systems.interface import Receipt
from harmony_agent.repositories.interface import Content, Download, Entry, Repository, Token
from tests.integration.logs.scripted import ScriptedLogSystem
from tests.integration.logs.test_pipeline_stream import Node, messages

FOLDER = ".harmony-agent/parked"


class MemoryRepository(Repository):
    """A repository in memory; `script` holds errors for the next calls, raised after a write."""

    kind = "memory"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.script: list[Exception | None] = []

    @property
    def location(self) -> str:
        """Nowhere."""
        return "memory"

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def list(self, folder: str = "") -> list[Entry]:
        """All below the folder."""
        self._fail()
        return [
            Entry(path, len(data), Token(str(hash(data))))
            for path, data in self.files.items()
            if path.startswith(folder + "/")
        ]

    async def stat(self, path: str) -> Entry | None:
        """Not needed here."""
        raise NotImplementedError

    def download(self, path: str) -> contextlib.AbstractAsyncContextManager[Download]:
        """Not needed here."""
        raise NotImplementedError

    async def upload(
        self, path: str, size: int, chunks: AsyncIterator[bytes], token: Token | None
    ) -> Token:
        """Not needed here."""
        raise NotImplementedError

    async def read(self, path: str) -> Content:
        """The file."""
        self._fail()
        return Content(self.files[path], Token(str(hash(self.files[path]))))

    async def create(self, path: str, data: bytes) -> Token:
        """Write; the answer may be lost."""
        if path in self.files:
            raise PreconditionFailed(path)
        self.files[path] = data
        self._fail()
        return Token(str(hash(data)))

    async def replace(self, path: str, data: bytes, token: Token) -> Token:
        """Not needed here."""
        raise NotImplementedError

    async def delete(self, path: str, token: Token) -> None:
        """Remove this version."""
        self._fail()
        assert token == str(hash(self.files.pop(path)))

    async def make_folder(self, path: str) -> None:
        """Nothing to do."""

    def _fail(self) -> None:
        error = self.script.pop(0) if self.script else None
        if error:
            raise error


@pytest.fixture
async def parked(tmp_path: Path) -> tuple[MemoryRepository, list[str]]:
    """A repository with 250 parked events, of which the first three were delivered before."""
    node, repository = Node(tmp_path / "first"), MemoryRepository()
    node.log.start()
    node.write(250)
    system = ScriptedLogSystem()

    def some(_: object) -> Receipt:
        system.down = Unavailable("down")
        return Receipt(3)

    system.script.append(some)
    async with node.running(system) as stream:
        assert await stream.drain(0.3) == 247
        assert await stream.park(repository, FOLDER, 10) == 247
        assert await stream.drain(0.3) == 0
    return repository, node.messages()[3:]


async def test_parked_events_are_delivered_by_the_next_agent(
    tmp_path: Path, parked: tuple[MemoryRepository, list[str]]
) -> None:
    """A new pod without local state delivers them, in order, and clears the folder."""
    repository, expected = parked
    node, system = Node(tmp_path / "second"), ScriptedLogSystem()
    system.script = [Unavailable("down", retry_after=0.01)]
    repository.script = [Unavailable("busy"), None, None, Unavailable("busy")]
    async with node.running(system) as stream:
        assert await stream.deliver_parked(repository, FOLDER) >= 247
    assert list(dict.fromkeys(messages(system))) == expected
    assert repository.files == {}


async def test_parked_events_are_not_read_from_the_log_again(tmp_path: Path) -> None:
    """Where the state directory stays, the checkpoint has moved past them."""
    node, repository = Node(tmp_path), MemoryRepository()
    node.log.start()
    node.write(5)
    down = ScriptedLogSystem()
    down.down = Unavailable("down")
    async with node.running(down) as stream:
        await stream.drain(0.1)
        assert await stream.park(repository, FOLDER, 10) == 5
    node.write(1)
    system = ScriptedLogSystem()
    async with node.running(system) as stream:
        assert await stream.drain(10) == 0
    assert messages(system) == ["event 5"]


async def test_what_cannot_be_parked_stays_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The repository fails as well: told, and delivered after the next start."""
    node, repository = Node(tmp_path), MemoryRepository()
    node.log.start()
    node.write(150)
    system = ScriptedLogSystem()
    system.down = Unavailable("down")
    async with node.running(system) as stream:
        await stream.drain(0.1)
        repository.script = [None, OutcomeUnknown("no answer")]
        assert await stream.park(repository, FOLDER, 10) == 100
        assert "could be parked: no answer" in caplog.text
        assert await stream.park(repository, FOLDER, 10) == 50  # the same name: no repeat
        assert len(repository.files) == 2
        assert await stream.park(repository, FOLDER, 10) == 0


async def test_a_damaged_segment_is_left_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, parked: tuple[MemoryRepository, list[str]]
) -> None:
    """It neither stops the others nor disappears."""
    repository, expected = parked
    repository.files[f"{FOLDER}/00000000T000000Z-0-1.jsonl.gz"] = b"garbage"
    repository.files[f"{FOLDER}/notes.txt"] = b"hello"
    node, system = Node(tmp_path / "second"), ScriptedLogSystem()
    async with node.running(system) as stream:
        assert await stream.deliver_parked(repository, FOLDER) == 247
    assert messages(system) == expected
    assert len(repository.files) == 2
    assert "damaged" in caplog.text


async def test_delivering_parked_events_can_be_broken_off(
    tmp_path: Path, parked: tuple[MemoryRepository, list[str]]
) -> None:
    """Cancelled while the log system is down, nothing is deleted that was not delivered."""
    repository, _ = parked
    segments = dict(repository.files)
    node, system = Node(tmp_path / "second"), ScriptedLogSystem()
    system.down = Unavailable("down")
    async with node.running(system) as stream:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await stream.deliver_parked(repository, FOLDER)
    assert repository.files == segments
