"""What the agent does not load, and what it gives back."""

import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from harmony_agent.agent import memory
from harmony_agent.agent.memory import keep_small

# What `run` does before it serves, with a file repository and the local log store.
_RUN = """
import harmony_agent.cli.main, harmony_agent.cli.running, harmony_agent.settings.load
import harmony_agent.agent, harmony_agent.agent.jobs
from pathlib import Path, PurePosixPath
from harmony_agent.logs.systems.connect import connect as connect_log_system
from harmony_agent.repositories.connect import connect
from harmony_agent.settings import model
connect(model.FileRepository(root=PurePosixPath("/")), "S", ca_bundle=None)
connect_log_system(model.LocalLogSystem(), node="n", state_dir=Path("/"), ca_bundle=None)
"""
# A probe calls them every few seconds.
_ASK = "import harmony_agent.cli.main, harmony_agent.cli.asking, harmony_agent.cli.draining"

_NEVER = (
    "azure", "cryptography", "datadog_api_client", "google", "pydantic", "requests", "rich",
    "smbprotocol", "spnego", "splunklib",
    "email._header_value_parser", "smtplib", "xml.etree", "unittest", "doctest", "pdb",
    "harmony_agent.agent.checks", "harmony_agent.license.message", "harmony_agent.license.smtp",
    "harmony_agent.repositories.http.client",
)  # fmt: skip
_NOT_FOR_A_QUESTION = (
    *_NEVER,
    "asyncio", "h11", "httpx", "hypothesis", "sqlite3", "starlette", "uvicorn", "watchdog", "yaml",
    "harmony_agent.agent", "harmony_agent.settings.load", "harmony_agent.settings.model",
)  # fmt: skip


def loaded_after(code: str, forbidden: tuple[str, ...]) -> list[str]:
    """Which of `forbidden` (with what is below them) a fresh interpreter has loaded after `code`;
    what a development tool would bring along is hidden as in the image."""
    hidden = "import sys; sys.modules.update(rich=None, pygments=None)\n"
    ask = "\nprint(*(name for name, module in sys.modules.items() if module is not None))"
    done = subprocess.run(
        [sys.executable, "-c", hidden + code + ask],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return sorted(
        f for f in forbidden
        if any(name == f or name.startswith(f + ".") for name in done.stdout.split())
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "forbidden"), [(_RUN, _NEVER), (_ASK, _NOT_FOR_A_QUESTION)], ids=["run", "ask"]
)
def test_what_is_not_needed_is_not_loaded(code: str, forbidden: tuple[str, ...]) -> None:
    """Every module costs memory in every pod, or CPU with every probe."""
    found = loaded_after(code, forbidden)
    assert not found, (
        f"{', '.join(found)} would be loaded in every pod: import it where it is used (as "
        "agent/checks.py and license/message.py are), or show in benchmarks/footprint.py that it "
        "is worth its memory"
    )


@pytest.fixture
def thawed() -> Iterator[None]:
    """The collector as it was."""
    yield
    gc.unfreeze()


@pytest.mark.looptime
@pytest.mark.usefixtures("thawed")
async def test_freed_memory_is_given_back_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times a minute, as long as the agent lives."""
    given_back: list[int] = []
    monkeypatch.setattr(memory, "_trimmer", lambda: given_back.append)
    task = asyncio.create_task(keep_small())
    await asyncio.sleep(61)
    task.cancel()
    assert len(given_back) == 5
    assert gc.get_freeze_count() > 0


@pytest.mark.looptime
@pytest.mark.usefixtures("thawed")
async def test_a_c_library_that_cannot_give_back_is_no_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """musl has no malloc_trim; the task goes on and the agent with it."""
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    task = asyncio.create_task(keep_small())
    await asyncio.sleep(61)
    assert not task.done()
    task.cancel()
