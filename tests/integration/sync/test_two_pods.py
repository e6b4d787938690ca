"""Two pods that bear one node's name: one at a time writes in its runtime folder, the other says
who holds it, and goes on once that one is gone for good."""

import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from fixtures.servers.seaweedfs import SeaweedFs
from tests.integration.repositories.backends import s3_settings
from tests.integration.sync.outside import Bucket, Folder, Outside
from tests.integration.sync.pod import new_system, pod, s3_secret, start
from tests.system.agent_process import AgentProcess, Layout, eventually

pytestmark = pytest.mark.server

LIMIT = 120.0  # seconds for what takes a few on a machine with nothing else to do


def receive(layout: Layout, *names: str) -> None:
    """Harmony receives messages."""
    folder = layout.home / "AS2/data"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.id").write_text(name)


def messages(outside: Outside, layout: Layout) -> set[str]:
    """The messages that the node's runtime folder holds."""
    prefix = f"{layout.host}/AS2/data/"
    return {p.removeprefix(prefix)[:-3] for p in outside.files() if p.startswith(prefix)}


def waits(agent: AgentProcess, words: str) -> bool:
    """Whether the agent is not ready and says why: that another has the lease, and which."""
    code, lines = agent.probe("/readyz?verbose")
    line = next((line for line in lines.splitlines() if line.startswith("[-]lease")), "")
    return code == 503 and f"{words} node-1 on {socket.gethostname()}" in line


def owns(agent: AgentProcess) -> bool:
    """Whether the agent holds the lease and is ready."""
    if agent.probe("/readyz")[0] != 200:
        return False
    # After a restart beside a known home the agent is ready before it looks at the lease.
    return bool(agent.status().get("lease", {}).get("mayWrite"))


def lease(agent: AgentProcess) -> tuple[str, int]:
    """Where the agent stands, and how often the lease has changed its owner."""
    section = agent.status()["lease"]
    return section["state"], section["epoch"]


def test_a_pod_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    """A restart of the same pod goes on at once; another pod of its name waits, and takes over once
    the first was killed and does not come back."""
    system = new_system()
    first = pod(tmp_path / "first", None, system)
    second = pod(tmp_path / "second", (first.secrets / "cleo-runtime-repo").read_text(), system)
    outside = Folder(first.configuration)
    with start(first) as killed:
        killed.wait_started(LIMIT)
        receive(first, "one")
        eventually(lambda: messages(outside, first) == {"one"}, LIMIT, "the first message")
        killed.kill()
    with start(first) as again:
        eventually(lambda: owns(again), LIMIT, "the same pod again")
        assert "is held by" not in again.log
        assert lease(again) == ("owned", 2)
        with start(second) as other:
            eventually(lambda: waits(other, "is held by"), LIMIT, "the second pod waits")
            assert other.probe("/startupz")[0] == 503
            assert "is held by" in other.log
            receive(second, "stray")
            receive(first, "two")
            eventually(lambda: messages(outside, first) == {"one", "two"}, LIMIT, "business")
            again.kill()
            eventually(lambda: owns(other), LIMIT, "the second pod takes over")
            assert lease(other) == ("owned", 3)
            everything = {"one", "two", "stray"}
            eventually(lambda: messages(outside, first) == everything, LIMIT, "its own as well")
            home = {path.stem for path in (second.home / "AS2/data").iterdir()}
            assert home == everything
            assert other.stop() == 0


def test_a_pod_that_was_paused_writes_nothing_more(seaweedfs: SeaweedFs, tmp_path: Path) -> None:
    """While it stood still its lease ended and another pod took over: it finds out before it
    writes, is not ready, and says to whom; what it could not write it keeps."""
    system = new_system()
    outside = Bucket(s3_settings(seaweedfs), system)
    secret = s3_secret(seaweedfs, seaweedfs.access_key, seaweedfs.secret_key)
    first, second = (pod(tmp_path / name, secret, system) for name in ("first", "second"))
    with ExitStack() as stack:
        paused = stack.enter_context(start(first, HARMONY_AGENT_DRAIN_TIMEOUT="3s"))
        eventually(lambda: owns(paused), LIMIT, "the first pod")
        other = stack.enter_context(start(second))
        eventually(lambda: waits(other, "is held by"), LIMIT, "the second pod waits")
        receive(first, "before")
        eventually(lambda: messages(outside, first) == {"before"}, LIMIT, "business")
        paused.process.send_signal(signal.SIGSTOP)
        receive(first, "unseen")
        eventually(lambda: owns(other), LIMIT, "the other takes over")
        receive(second, "after")
        eventually(lambda: messages(outside, first) == {"before", "after"}, LIMIT, "business")
        paused.process.send_signal(signal.SIGCONT)
        receive(first, "too-late")
        eventually(lambda: waits(paused, "was taken over by"), LIMIT, "the paused one is fenced")
        assert lease(paused)[0] == "fenced"
        receive(second, "later")
        expected = {"before", "after", "later"}
        eventually(lambda: messages(outside, first) == expected, LIMIT, "business")
        assert owns(other)
        assert paused.stop() == 0  # its last push must not write either
        assert messages(outside, first) == expected
        home = {path.stem for path in (first.home / "AS2/data").iterdir()}
        assert home == {"before", "unseen", "too-late"}
        assert other.stop() == 0
