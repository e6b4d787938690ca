"""Two pods that bear one node's name, and what is to hold for them on every backend."""

import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.servers.samba import Samba
from tests.integration.repositories.conftest import make_backend
from tests.integration.sync.outside import Bucket, Folder, Outside
from tests.integration.sync.pod import pod, secret_of, start
from tests.system.agent_process import AgentProcess, Layout, eventually

__all__ = ["TwoPods", "pods_of_one_name", "take_turns"]

LIMIT = 120.0  # seconds for what takes a few on a machine with nothing else to do


@dataclass(frozen=True)
class TwoPods:
    """The pods, which have nothing in common but their name, and their repository."""

    first: Layout
    second: Layout
    outside: Outside

    def holds(self, *names: str) -> None:
        """Wait until the runtime repository holds these messages and no others."""
        eventually(lambda: self.messages() == set(names), LIMIT, f"just {', '.join(names)}")

    def messages(self) -> set[str]:
        """The messages that the node's runtime folder holds."""
        prefix = f"{self.first.host}/AS2/data/"
        files = self.outside.files()
        return {path.removeprefix(prefix)[:-3] for path in files if path.startswith(prefix)}


def pods_of_one_name(kind: str, request: pytest.FixtureRequest, scratch: Path) -> TwoPods:
    """Two pods of a new system on the backend `kind`."""
    backend = make_backend(kind, request, scratch)
    outside: Outside
    if backend.server is None:
        secret = f"type: file\nconnectorProperties:\n  rootPath: {scratch / 'volume'}\n"
        outside = Folder(scratch / "volume" / backend.system)
    else:
        secret = secret_of(backend.server)
        outside = (
            Folder(backend.server.files / backend.system)
            if isinstance(backend.server, Samba)
            else Bucket(backend.settings(), backend.system)
        )
    first, second = (pod(scratch / name, secret, backend.system) for name in ("first", "second"))
    return TwoPods(first, second, outside)


def take_turns(pods: TwoPods) -> None:
    """The node's folder has one writer at a time, and what that one does not know of is never
    overwritten: not by a pod that waits, nor by one that slept while another took over.

    A pod that was killed goes on at once. Another of its name says who has the lease and waits,
    takes over when the first stands still for long, and writes what it has of its own. The first
    finds out before it writes anything, says to whom it lost, and keeps what it has.
    """
    with start(pods.first) as killed:
        eventually(lambda: _owns(killed), LIMIT, "the first pod")
        _receive(pods.first, "one")
        pods.holds("one")
        killed.kill()
    with (
        start(pods.first, HARMONY_AGENT_DRAIN_TIMEOUT="3s") as paused,
        start(pods.second) as other,
    ):
        eventually(lambda: _owns(paused), LIMIT, "the same pod again")
        assert "is held by" not in paused.log
        assert _lease(paused) == ("owned", 2)
        eventually(lambda: _waits(other, "is held by"), LIMIT, "the second pod waits")
        assert other.probe("/startupz")[0] == 503
        assert "is held by" in other.log
        _receive(pods.second, "stray")
        _receive(pods.first, "two")
        pods.holds("one", "two")

        paused.process.send_signal(signal.SIGSTOP)
        _receive(pods.first, "unseen")
        eventually(lambda: _owns(other), LIMIT, "the second pod takes over")
        assert _lease(other) == ("owned", 3)
        _receive(pods.second, "after")
        pods.holds("one", "two", "stray", "after")

        paused.process.send_signal(signal.SIGCONT)
        _receive(pods.first, "too-late")
        eventually(lambda: _waits(paused, "was taken over by"), LIMIT, "the first one is fenced")
        assert _lease(paused)[0] == "fenced"
        _receive(pods.second, "later")
        pods.holds("one", "two", "stray", "after", "later")
        assert _owns(other)
        assert paused.stop() == 0  # its last push must not write either
        pods.holds("one", "two", "stray", "after", "later")
        assert other.stop() == 0
    assert _received(pods.first) == {"one", "two", "unseen", "too-late"}
    assert _received(pods.second) == {"one", "two", "stray", "after", "later"}


def _receive(layout: Layout, name: str) -> None:
    """Harmony receives a message."""
    folder = layout.home / "AS2/data"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.id").write_text(name)


def _received(layout: Layout) -> set[str]:
    """The messages that the pod's home holds."""
    return {path.stem for path in (layout.home / "AS2/data").iterdir()}


def _waits(agent: AgentProcess, words: str) -> bool:
    """Whether the agent is not ready and says why: that another has the lease, and which."""
    code, lines = agent.probe("/readyz?verbose")
    line = next((line for line in lines.splitlines() if line.startswith("[-]lease")), "")
    return code == 503 and f"{words} node-1 on {socket.gethostname()}" in line


def _owns(agent: AgentProcess) -> bool:
    """Whether the agent holds the lease and is ready."""
    if agent.probe("/readyz")[0] != 200:
        return False
    # After a restart beside a known home the agent is ready before it looks at the lease.
    return bool(agent.status().get("lease", {}).get("mayWrite"))


def _lease(agent: AgentProcess) -> tuple[str, int]:
    """Where the agent stands, and how often the lease has changed its owner."""
    section = agent.status()["lease"]
    return section["state"], section["epoch"]
