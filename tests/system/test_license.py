"""The license's end, with real processes: mail, ticket, exit file, Harmony stopped, code 77."""

import json
import subprocess

import pytest

from tests.system.agent_process import eventually
from tests.system.conftest import Node

pytestmark = pytest.mark.server


def test_the_end_of_the_grace_stops_harmony_with_one_mail_and_one_ticket(node: Node) -> None:
    """The license service fails while the ticket service answers: Harmony starts, the grace (here
    of seconds) begins with one mail and one ticket, and its end stops Harmony and agent with 77."""
    node.license.answer = "error"
    with (
        node.agent(HARMONY_AGENT_GRACE_PERIOD="10s", HARMONY_AGENT_VERIFY_RETRY="1s") as agent,
        node.harmony() as harmony,
    ):
        agent.wait_started()
        assert agent.status()["license"]["state"] == "grace"
        eventually((node.layout.signals / "running").exists, what="Harmony's start")
        assert agent.process.wait(60) == 77
        assert harmony.wait(30) == 77
    told = json.loads((node.layout.signals / "exit").read_text())
    assert told["code"] == 77
    assert list(node.tickets.tickets.values()) == ["IT-1000"]
    subjects = [mail["Subject"] for mail in node.mail.mails]
    assert sum("grace" in subject.lower() for subject in subjects) >= 1
    assert len(subjects) == len(set(subjects)), subjects
    log = (node.layout.home / "logs" / "Harmony.xml").read_text()
    assert "Harmony stopped" in log


def test_a_refused_license_never_lets_harmony_start_until_it_is_verified(node: Node) -> None:
    """Refused at the first start: exit at once with 77, and again; verified later: Harmony may
    start and the exit file is gone."""
    node.license.answer = "revoked"
    for _ in range(2):
        with node.agent() as agent:
            assert agent.process.wait(60) == 77, agent.log
        assert (node.layout.signals / "exit").exists()
        assert not (node.layout.signals / "ready").exists()
    with node.harmony() as harmony:
        assert harmony.wait(30) == 77
    assert not (node.layout.home / "logs" / "Harmony.xml").exists()
    node.license.answer = "valid"
    with node.agent() as agent:
        agent.wait_started()
        assert not (node.layout.signals / "exit").exists()
        assert agent.probe("/harmony/livez")[0] == 200
        assert agent.stop() == 0


def test_a_killed_agent_leaves_harmony_running(node: Node) -> None:
    """A crash of the agent stops nothing: Harmony runs on, and the next agent finds it."""
    with node.agent() as agent, node.harmony() as harmony:
        agent.wait_started()
        eventually((node.layout.signals / "running").exists, what="Harmony's start")
        agent.kill()
        with pytest.raises(subprocess.TimeoutExpired):
            harmony.wait(3)
        with node.agent() as again:
            again.wait_started()
            assert harmony.poll() is None
            harmony.terminate()
            assert harmony.wait(30) == 0
            assert again.stop() == 0
