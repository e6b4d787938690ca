"""Two nodes whose clocks are an hour apart, and one whose clock is turned back by a day."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fixtures.demo_backends import secret
from fixtures.servers.seaweedfs import SeaweedFs
from tests.system.agent_process import AgentProcess, Layout, eventually

pytestmark = pytest.mark.server

HOST = "hosts/Partner.xml"
HOUR, DAY = 3600, 86400
SHIFTED = Path(__file__).parent / "shifted_clock"
ENVIRONMENT = {
    "HARMONY_AGENT_LICENSE": "off",
    "HARMONY_AGENT_LOG_STREAM": "off",
    "HARMONY_AGENT_POLL_INTERVAL": "1s",
    "HARMONY_AGENT_LIST_INTERVAL": "10s",  # what is too old is purged as often
    "PYTHONPATH": str(SHIFTED),
}
LIMIT = 120.0  # seconds; generous, since conditions are waited for


class Node:
    """A node with a clock of its own."""

    def __init__(self, root: Path, host: str, repository: str) -> None:
        self.layout = Layout(root / host, host)
        self.layout.write_secrets(cleo_config_repo=repository, cleo_runtime_repo=repository)
        self._clock = root / host / "clock"

    def turn(self, seconds: float) -> None:
        """Its clock is so far ahead from now on."""
        beside = self._clock.with_name("clock.new")
        beside.write_text(str(seconds))
        beside.replace(self._clock)

    def agent(self) -> AgentProcess:
        """Start the agent."""
        return AgentProcess(self.layout, SHIFTED_CLOCK=str(self._clock), **ENVIRONMENT)

    def write(self, path: str, text: str) -> None:
        """Harmony writes a file."""
        target = self.layout.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def has(self, path: str, text: str | None) -> Callable[[], bool]:
        """Whether its home has the file with this text; None: has not."""
        target = self.layout.home / path

        def holds() -> bool:
            try:
                return target.read_text() == text
            except FileNotFoundError:
                return text is None

        return holds


@pytest.fixture(params=["file", "s3"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The secret of both repositories."""
    if request.param == "file":
        (tmp_path / "repository").mkdir()
        yield secret("file", rootPath=tmp_path / "repository")
        return
    with SeaweedFs(tmp_path / "seaweedfs") as server:
        yield secret(
            "s3",
            bucket=server.bucket,
            endpoint=server.endpoint,
            pathStyle="on",
            accessKey=server.access_key,
            secretAccessKey=server.secret_key,
        )


def test_clocks_decide_nothing(repository: str, tmp_path: Path) -> None:
    """Edits, conflicts and deletes travel whoever's clock is ahead, and go on when one is turned
    back by a day or ahead by forty while its agent runs; nothing that is kept is purged, both keep
    their leases."""
    one, two = (Node(tmp_path, host, repository) for host in ("node-1", "node-2"))
    one.turn(HOUR)
    two.turn(0)
    one.write(HOST, "<Host>first</Host>")
    one.write("certs/kept.cer", "kept")
    with ExitStack() as stack:
        first, second = one.agent(), two.agent()
        for agent in (first, second):
            stack.enter_context(agent)
            agent.wait_started(LIMIT)
        for number, (ahead_one, ahead_two) in enumerate([(HOUR, 0), (-DAY, 40 * DAY)]):
            one.turn(ahead_one)
            two.turn(ahead_two)
            exchange(one, two, (first, second), f"round {number}")
        one.write("AS2/data/1.id", "1@acme")
        eventually(lambda: first.status()["runtime"]["sentBytes"] > 0, LIMIT, "a runtime file")
        assert [agent.probe("/readyz")[0] for agent in (first, second)] == [200, 200]
        kept = json.loads(second.command("conflicts", "list", "--json").stdout)
        assert len(kept) == 2
        assert first.stop(LIMIT) == second.stop(LIMIT) == 0


def exchange(one: Node, two: Node, agents: tuple[AgentProcess, AgentProcess], what: str) -> None:
    """A conflict, an edit by the node that lost it, and a delete by the other."""
    first, second = agents
    gone = f"certs/{what}.cer"
    one.write(gone, what)
    eventually(two.has(gone, what), LIMIT, f"{what}: a file by one")
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        sent = _sent(second)
        two.write(HOST, f"<Host>{what} by two</Host>")
        (two.layout.home / gone).unlink()
        eventually(lambda: _sent(second) > sent, LIMIT, f"{what}: two's edit is in the repository")
        one.write(HOST, f"<Host>{what} by one</Host>")
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    eventually(one.has(HOST, f"<Host>{what} by two</Host>"), LIMIT, f"{what}: the winner at one")
    one.write(HOST, f"<Host>{what} by one again</Host>")
    eventually(two.has(HOST, f"<Host>{what} by one again</Host>"), LIMIT, f"{what}: an edit by one")
    eventually(one.has(gone, None), LIMIT, f"{what}: a delete by two")


def _sent(agent: AgentProcess) -> int:
    return int(agent.status()["configuration"]["sentBytes"])
