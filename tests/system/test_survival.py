"""Nothing is lost: log system down, kill -9, a lost disk, a new pod, rotated secrets."""

import re
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from fixtures.demo_backends import secret
from fixtures.serve import free_port, serving
from fixtures.splunk import SplunkStandIn
from tests.system.agent_process import Layout, eventually
from tests.system.conftest import Node

pytestmark = [pytest.mark.server, pytest.mark.long]

OUTAGE = 60.0  # seconds
MIRRORED = ("AS2/data", "AS2/mdn")
SYNCHRONIZED = ("hosts", "certs")


def numbers_in_log(layout: Layout) -> list[int]:
    """The EN of every event that Harmony has written, in order."""
    log = layout.home / "logs" / "Harmony.xml"
    text = log.read_text() if log.exists() else ""
    return [int(number) for number in re.findall(r'<Mark [^>]*EN="(\d+)"', text)]


def once_each(events: list[dict[str, Any]]) -> list[int]:
    """The EN of the events in the order of arrival, repeats left out: those bear the same id."""
    return list({event["id"]: event["number"] for event in events}.values())


def same_files(home: Path, repository: Path, *folders: str) -> bool:
    """Whether every file below these folders of home lies in the repository with its content."""
    files = [path for folder in folders for path in (home / folder).rglob("*") if path.is_file()]
    copies = [repository / path.relative_to(home) for path in files]
    return bool(files) and all(
        copy.is_file() and copy.read_bytes() == path.read_bytes()
        for path, copy in zip(files, copies, strict=True)
    )


def test_no_event_is_lost_while_the_log_system_is_down_for_a_minute(node: Node) -> None:
    """Splunk goes away for a minute while Harmony writes on; no event is lost. What it misses is
    copied to the runtime repository meanwhile; it comes from the log all the same, once, and the
    copies are deleted. Catching up, several batches are on their way at once, which may arrive in
    another order than they began."""
    splunk = SplunkStandIn()
    parked = node.layout.runtime / ".harmony-agent" / "parked"
    port, certificate = free_port(), node.authority.issue()
    node.layout.write_secrets(
        cleo_log_system=secret("splunk", url=f"https://localhost:{port}", token=splunk.hec.token)
    )
    with node.agent() as agent:
        with node.harmony():
            with serving(splunk.app, certificate, port=port):
                eventually(lambda: len(splunk.events) > 20, what="events at Splunk")
            time.sleep(OUTAGE)  # this minute is what is tested
            status, lines = agent.probe("/readyz?verbose")
            assert status == 200
            assert "[!]log-system" in lines
            assert len(numbers_in_log(node.layout)) - len(splunk.events) > 100
            assert "[!]log-parking" in lines
            assert len(list(parked.iterdir())) > 2
        with serving(splunk.app, certificate, port=port):
            written = numbers_in_log(node.layout)
            eventually(lambda: len(splunk.events) >= len(written), 60, "catching up")
            eventually(lambda: not list(parked.iterdir()), what="the end of the copies")
            assert agent.stop() == 0
    assert sorted(once_each(splunk.events)) == written
    assert len(splunk.events) - len(written) <= 1, "only what was on its way comes twice"


def test_kill_9_loses_neither_events_nor_files(node: Node) -> None:
    """The agent is killed three times while Harmony works on; after the last start every event
    is in the log store once and every file in its repository."""
    layout = node.layout
    with node.harmony():
        for _ in range(3):
            with node.agent() as agent:
                agent.wait_started()
                before = len(numbers_in_log(layout))
                eventually(lambda: len(numbers_in_log(layout)) > before + 30)  # noqa: B023
                agent.kill()
        with node.agent() as agent:
            agent.wait_started()
            before = len(numbers_in_log(layout))
            eventually(lambda: len(numbers_in_log(layout)) > before + 30)
    with node.agent() as agent:
        agent.wait_started()
        written = numbers_in_log(layout)
        eventually(lambda: len(agent.events()) >= len(written), what="all events in the store")
        assert [event["number"] for event in agent.events()] == written
        eventually(lambda: same_files(layout.home, layout.runtime, *MIRRORED), what="receipts")
        eventually(lambda: same_files(layout.home, layout.configuration, *SYNCHRONIZED))
        assert agent.stop() == 0


def test_a_pod_that_lost_its_disk_gets_its_files_back(node: Node) -> None:
    """After the loss of home and state a new pod of the same name has all message IDs and the
    whole configuration before Harmony may start."""
    layout = node.layout
    with node.agent() as agent:
        with node.harmony():
            eventually(lambda: len(numbers_in_log(layout)) > 50, what="Harmony's work")
        assert agent.stop() == 0
    assert same_files(layout.home, layout.runtime, "AS2/data")
    names = sorted(p.name for p in (layout.home / "AS2/data").iterdir())
    host_file = (layout.home / "hosts/ACME AS2.xml").read_bytes()
    for lost in (layout.home, layout.state, layout.signals):
        shutil.rmtree(lost)
    layout.home.mkdir()
    with node.agent() as agent:
        agent.wait_started()
        assert (layout.signals / "ready").exists()
        assert sorted(p.name for p in (layout.home / "AS2/data").iterdir()) == names
        assert (layout.home / "hosts/ACME AS2.xml").read_bytes() == host_file
        assert agent.stop() == 0


def test_events_that_a_lost_pod_could_not_deliver_are_delivered_by_the_next(node: Node) -> None:
    """Splunk is down when the pod ends, and its disk is lost: the events lie parked in the runtime
    repository, and the next pod of that name delivers them and empties the place."""
    layout, splunk = node.layout, SplunkStandIn()
    port, certificate = free_port(), node.authority.issue()
    layout.write_secrets(
        cleo_log_system=secret("splunk", url=f"https://localhost:{port}", token=splunk.hec.token)
    )
    with node.agent(HARMONY_AGENT_DRAIN_TIMEOUT="8s") as agent:
        with node.harmony():
            eventually(lambda: len(numbers_in_log(layout)) > 50, what="Harmony's work")
        assert agent.stop() == 0
    written = numbers_in_log(layout)
    parked = layout.runtime / ".harmony-agent" / "parked"
    assert [path for path in parked.iterdir() if path.is_file()]
    for lost in (layout.home, layout.state, layout.signals):
        shutil.rmtree(lost)
    layout.home.mkdir()
    with serving(splunk.app, certificate, port=port), node.agent() as agent:
        eventually(lambda: len(splunk.events) >= len(written), 60, "the parked events")
        eventually(lambda: not [p for p in parked.iterdir() if p.is_file()], what="deletion")
        assert agent.stop() == 0
    assert once_each(splunk.events) == written


def test_two_nodes_share_configuration_and_keep_their_receipts_apart(
    node: Node, tmp_path: Path
) -> None:
    """A second node of the system starts with the first one's configuration and an own folder."""
    first, second = node.layout, Layout(tmp_path / "second", host="harmony-2")
    second.secrets.symlink_to(first.secrets)
    with node.agent() as agent:
        with node.harmony():
            eventually((first.configuration / "hosts/ACME AS2.xml").exists, 60, "the host file")
        assert agent.stop() == 0
    other = Node(second, node.license, node.tickets, node.mail, node.authority, node.environment)
    with other.agent() as agent:
        agent.wait_started()
        assert (second.home / "hosts/ACME AS2.xml").exists()
        assert not (second.home / "AS2/data").exists()
        assert (first.configuration / "harmony-2").is_dir()
        assert agent.stop() == 0


def test_an_unreachable_repository_delays_the_start_and_no_probe(node: Node) -> None:
    """While the repository can't be opened probes answer and say why; once it can, the agent
    starts by itself."""
    layout = node.layout
    shutil.rmtree(layout.repository)
    layout.repository.write_text("in the way")
    with node.agent() as agent:
        eventually(lambda: "[!]runtime-repository" in agent.probe("/readyz?verbose")[1])
        assert agent.probe("/livez")[0] == 200
        assert agent.probe("/startupz")[0] == 503
        assert not (layout.signals / "ready").exists()
        layout.repository.unlink()
        layout.repository.mkdir()
        agent.wait_started(60)
        assert agent.stop() == 0


def test_rotated_secrets_take_effect_without_a_restart(node: Node) -> None:
    """When the log system's token is rotated, deliveries go on with the new one."""
    splunk = SplunkStandIn()
    old = splunk.hec.token
    with serving(splunk.app, node.authority.issue()) as url, node.agent() as agent:
        node.layout.write_secrets(cleo_log_system=secret("splunk", url=url, token="old-token"))
        with node.harmony():
            agent.wait_started()
            eventually(lambda: "[!]log-system" in agent.probe("/readyz?verbose")[1], 60)
            assert not splunk.events
            node.layout.write_secrets(cleo_log_system=secret("splunk", url=url, token=old))
            eventually(lambda: splunk.events, 60, "events with the new token")
        assert agent.stop() == 0


SmallDisk = Callable[[Path], AbstractContextManager[Path]]


def test_a_full_state_directory_is_told_and_overcome(node: Node, small_disk: SmallDisk) -> None:
    """With no byte left for its state the agent answers probes, says what is wrong and lets
    Harmony wait; with room again it starts by itself, and nothing was lost."""
    with small_disk(node.layout.state) as filler, node.agent() as agent:
        eventually(lambda: "No space left on device" in agent.log, what="the cause in the log")
        assert agent.probe("/livez")[0] == 200
        assert "Traceback" not in agent.log
        filler.unlink()
        agent.wait_started(60)
        with node.harmony():
            eventually(lambda: len(numbers_in_log(node.layout)) > 20, what="Harmony's work")
        written = numbers_in_log(node.layout)
        eventually(lambda: len(agent.events()) >= len(written), what="all events in the store")
        assert [event["number"] for event in agent.events()] == written
        assert agent.stop() == 0
    assert same_files(node.layout.home, node.layout.runtime, *MIRRORED)


def test_a_full_home_is_told_and_overcome(node: Node, small_disk: SmallDisk) -> None:
    """A new pod whose home has no room for the configuration waits, says so, and goes on."""
    layout = node.layout
    certificate = layout.configuration / "certs" / "big.cer"
    with node.agent() as agent:
        agent.wait_started()
        assert agent.stop() == 0
    certificate.write_bytes(b"c" * 100_000)
    shutil.rmtree(layout.state)
    with small_disk(layout.home) as filler, node.agent() as agent:
        eventually(lambda: "No space left on device" in agent.log, what="the cause in the log")
        assert agent.probe("/startupz")[0] == 503
        assert "Traceback" not in agent.log
        filler.unlink()
        agent.wait_started(60)
        assert (layout.home / "certs" / "big.cer").read_bytes() == certificate.read_bytes()
        assert agent.stop() == 0
