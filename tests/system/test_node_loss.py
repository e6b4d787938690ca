"""A node is lost with its disk while the log system is down: its events arrive all the same."""

import json
import shutil
from pathlib import Path

import pytest

from fixtures.demo_backends import secret
from fixtures.harmony import install_home
from fixtures.harmony_log import HarmonyLog, element
from fixtures.serve import free_port, serving
from fixtures.splunk import SplunkStandIn
from fixtures.tls import TestAuthority
from tests.system.agent_process import AgentProcess, Layout, eventually

pytestmark = [pytest.mark.server, pytest.mark.long]

AWAY = "2m"  # the shortest that is allowed
EVENTS = 400


class Pod:
    """One node: its directories, its Harmony's log, its agent."""

    def __init__(
        self, root: Path, host: str, repository: Path, log_system: str, environment: dict[str, str]
    ) -> None:
        self.layout = Layout(root / host, host=host)
        runtime = secret("file", rootPath=str(repository))
        self.layout.write_secrets(cleo_runtime_repo=runtime, cleo_log_system=log_system)
        self._environment = environment
        self.written: list[str] = []
        self.install()

    def install(self) -> None:
        """Give it a new disk."""
        install_home(self.layout.home)
        self.log = HarmonyLog(self.layout.home / "logs" / "Harmony.xml")
        self.log.start()

    def lose(self) -> None:
        """Take its disk away."""
        for lost in (self.layout.home, self.layout.state, self.layout.signals):
            shutil.rmtree(lost)

    def write(self, count: int) -> None:
        """Harmony logs `count` events."""
        for _ in range(count):
            text = f"{self.layout.host} {len(self.written)}"
            self.log.event(element("Detail", text, level="1"), thread=1)
            self.written.append(text)

    def agent(self) -> AgentProcess:
        """Start its agent."""
        return AgentProcess(self.layout, **self._environment)


def parked_segments(repository: Path, host: str) -> list[Path]:
    """What lies parked by `host`."""
    folder = repository / "System1" / host / ".harmony-agent" / "parked"
    return list(folder.glob("*.gz"))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What all agents are told."""
    return {
        "HARMONY_AGENT_LICENSE": "off",
        "HARMONY_AGENT_CONFIG_SYNC": "off",
        "HARMONY_AGENT_PARKED_ADOPTION": AWAY,
    }


def test_events_of_lost_nodes_are_delivered(tmp_path: Path, environment: dict[str, str]) -> None:
    """Splunk is down, two nodes park what they can't deliver, are killed with -9 and lose their
    disks. One comes back under its name, without any state: it delivers what it parked. The other
    never does: after the set time a third takes its lease, delivers, deletes, and gives the lease
    back. Every event arrives, repeats bear the same id, nothing stays behind."""
    splunk, authority = SplunkStandIn(), TestAuthority(tmp_path / "tls")
    port, certificate = free_port(), authority.issue()
    environment["HARMONY_AGENT_CA_BUNDLE"] = str(authority.bundle)
    log_system = secret("splunk", url=f"https://localhost:{port}", token=splunk.hec.token)
    repository = tmp_path / "repository"
    repository.mkdir()
    back, gone, third = (Pod(tmp_path, name, repository, log_system, environment) for name in "abc")
    with back.agent() as first, gone.agent() as second:
        back.write(EVENTS)
        gone.write(EVENTS)
        for pod, agent in ((back, first), (gone, second)):
            agent.wait_started()
            eventually(lambda: agent.status()["logs"]["parkedEvents"] == EVENTS, 90, "parking")  # noqa: B023
            pod.write(10)
            eventually(lambda: agent.status()["logs"]["parkedEvents"] == EVENTS + 10)  # noqa: B023
        first.kill()
        second.kill()
    back.lose()
    gone.lose()
    assert parked_segments(repository, "a")
    assert parked_segments(repository, "b")
    back.install()
    with serving(splunk.app, certificate, port=port), third.agent() as other, back.agent() as agent:
        # A lease of an agent that was killed together with its state has to run out.
        eventually(lambda: not parked_segments(repository, "a"), 120, "delivery after the return")
        assert {event["node"] for event in splunk.events} == {"a"}
        eventually(lambda: not parked_segments(repository, "b"), 240, "adoption")
        eventually(lambda: not list((repository / "System1/.harmony-agent/parked-by").iterdir()))
        assert agent.stop() == 0
        assert other.stop() == 0
    lease = json.loads((repository / "System1/b/.harmony-agent/lease").read_text())
    assert lease["owner"] is None
    ids: dict[str, str] = {}
    for event in splunk.events:
        assert ids.setdefault(event["message"], event["id"]) == event["id"], "another id"
    assert set(ids) >= {*back.written, *gone.written}
