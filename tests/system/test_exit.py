"""The order of the end, with real processes: each step, and each with somebody killed in it."""

import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import yaml

from tests.system.agent_process import eventually
from tests.system.conftest import ROOT, Node

pytestmark = pytest.mark.server

GRACE = {"HARMONY_AGENT_GRACE_PERIOD": "4s", "HARMONY_AGENT_VERIFY_RETRY": "1s"}
DEAF = "trap '' TERM; while :; do sleep 0.1; done"


def exec_probe(node: Node) -> int:
    """The probe of Harmony's container as the shipped manifest has it, on this node's volume."""
    manifest = yaml.safe_load((ROOT / "deploy/kubernetes/base/statefulset.yaml").read_text())
    (harmony,) = manifest["spec"]["template"]["spec"]["containers"]
    signals = str(node.layout.signals)
    command = [
        word.replace("/var/run/harmony-agent", signals)
        for word in harmony["livenessProbe"]["exec"]["command"]
    ]
    assert any(signals in word for word in command)
    return subprocess.run(command, check=False, timeout=10).returncode


@contextmanager
def process(*command: str, **environ: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Any process, which does not outlive the block."""
    started = subprocess.Popen(command, cwd=ROOT, env=environ or None)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.wait()


def test_what_harmony_writes_in_its_last_seconds_is_mirrored_and_streamed(node: Node) -> None:
    """It goes on working for two seconds after SIGTERM: its last receipt is in the repository and
    its last event in the log system before the agent ends with 77."""
    node.license.answer = "error"
    with node.agent(**GRACE) as agent, node.harmony(farewell=2.0) as harmony:
        agent.wait_started()
        assert exec_probe(node) == 0
        assert agent.process.wait(60) == 77
        assert harmony.wait(0.0) == 77, "the agent stays until Harmony is gone"
    assert exec_probe(node) != 0
    written = {path.name for path in (node.layout.home / "AS2" / "data").glob("*.id")}
    mirrored = {path.name for path in (node.layout.runtime / "AS2" / "data").glob("*.id")}
    assert len(written) > 40
    assert mirrored == written
    with sqlite3.connect(node.layout.state / "events.db") as store:
        (dump,) = ["\n".join(store.iterdump())]
    assert "Harmony stopped" in dump
    assert f"order-{len(written)}.edi" in dump


def test_a_process_in_a_shared_namespace_is_found_by_its_pattern(node: Node) -> None:
    """Without the guard: SIGTERM to Harmony's process, and to no other."""
    node.license.answer = "error"
    home = str(node.layout.home)
    pattern = rf"-m fixtures\.harmony {home}$"
    with (
        node.agent(HARMONY_AGENT_SIGNAL_PROCESS=pattern, **GRACE) as agent,
        process(sys.executable, "-m", "fixtures.harmony", home) as harmony,
        process("sleep", "60") as other,
    ):
        agent.wait_started()
        assert agent.process.wait(60) == 77
        assert harmony.wait(10) == 0
        assert other.poll() is None
    assert "sent SIGTERM to Harmony's process" in agent.log


def test_a_dead_agent_keeps_no_harmony_running_that_was_told_to_end(node: Node) -> None:
    """The agent is killed as soon as `exit` stands, and Harmony ignores SIGTERM: the guard ends it
    all the same. What it left is pushed by the next start, which ends with 77 and says so from its
    first bind on."""
    node.license.answer = "error"
    guard = str(ROOT / "entrypoint" / "harmony-guard")
    environment = {**node.layout.environment(), "HARMONY_GUARD_STOP_TIMEOUT": "1"}
    exit_file = node.layout.signals / "exit"
    with node.agent(**GRACE) as agent:
        agent.wait_started()
        with process(guard, "sh", "-c", DEAF, **environment) as harmony:
            eventually((node.layout.signals / "running").exists, what="Harmony's start")
            eventually(exit_file.exists, what="the exit file")
            agent.kill()
            assert harmony.wait(20) == 77
    left = node.layout.home / "AS2" / "data" / "last.id"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("the last one\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://localhost:{silent.getsockname()[1]}"
        with node.agent(HARMONY_AGENT_LICENSE_URL=url, **GRACE) as again:
            eventually(lambda: again.probe("/livez")[0] == 200, what="the first bind")
            assert again.probe("/harmony/livez")[0] == 503
            assert again.probe("/startupz")[0] == 503
            ready = node.layout.signals / "ready"
            eventually(lambda: not ready.exists(), what="the withdrawal of ready")
            assert again.process.wait(60) == 77, again.log
    assert (node.layout.runtime / "AS2" / "data" / "last.id").read_text() == "the last one\n"
    assert exit_file.exists()


def test_an_exit_that_can_not_be_written_at_once_is_written_later(
    node: Node, read_only: Callable[[Path], AbstractContextManager[None]]
) -> None:
    """The signal volume takes no writes when the grace ends: the probe says it at once, the file
    follows, Harmony ends."""
    node.license.answer = "error"
    with node.agent(**GRACE) as agent, node.harmony() as harmony:
        agent.wait_started()
        eventually((node.layout.signals / "running").exists, what="Harmony's start")
        with read_only(node.layout.signals):
            eventually(lambda: "exit file can't be written" in agent.log, what="the attempt")
            assert agent.probe("/harmony/livez")[0] == 503
            assert harmony.poll() is None
        assert harmony.wait(30) == 77
        assert agent.process.wait(30) == 77


def test_a_license_that_is_put_right_lets_harmony_start_again(node: Node) -> None:
    """Refused at the first start: mailed once, whatever the restarts; the new license removes
    `exit`, lets the waiting guard start Harmony, and is mailed."""
    node.license.answer, node.license.message = "suspended", "unpaid"
    for _ in range(2):
        with node.agent() as agent:
            assert agent.process.wait(60) == 77, agent.log
    told = json.loads((node.layout.signals / "exit").read_text())
    assert told["reason"] == "license-refused"
    assert "unpaid" in told["message"]
    assert [mail["Subject"].rpartition(": ")[2] for mail in node.mail.mails] == [
        "license refused, Harmony does not start"
    ]
    node.license.answer = "valid"
    with node.agent() as agent:
        agent.wait_started()
        with node.harmony() as harmony:
            eventually((node.layout.signals / "running").exists, what="Harmony's start")
            assert agent.probe("/harmony/livez")[0] == 200
            eventually(lambda: len(node.mail.mails) == 2, what="the second mail")
            outline = agent.command("status").stdout
            assert "license verified again" in node.mail.mails[1]["Subject"]
            for words in ("lastVerification", "nextAttempt", "verified-again", "outcome sent"):
                assert words in outline
            harmony.send_signal(signal.SIGTERM)
            assert harmony.wait(30) == 0
        assert agent.stop() == 0
