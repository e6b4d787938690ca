"""Two nodes change one file at the same time: nothing is lost, and a person can choose again."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.system.agent_process import AgentProcess, Layout, eventually, run_command

pytestmark = pytest.mark.server

HOST = "hosts/Partner.xml"
QUICK = {
    "HARMONY_AGENT_LICENSE": "off",
    "HARMONY_AGENT_LOG_STREAM": "off",
    "HARMONY_AGENT_RUNTIME_MIRROR": "off",
    "HARMONY_AGENT_POLL_INTERVAL": "1s",
}


def _layout(root: Path, host: str, repository: Path) -> Layout:
    layout = Layout(root / host, host)
    secret = f"type: file\nconnectorProperties:\n  rootPath: {repository}\n"
    layout.write_secrets(cleo_config_repo=secret)
    return layout


@contextmanager
def _asleep(agent: AgentProcess) -> Iterator[None]:
    """The agent does nothing while the block runs: its node is out of reach of the others."""
    os.kill(agent.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(agent.process.pid, signal.SIGCONT)


def _write(layout: Layout, text: str) -> None:
    (layout.home / HOST).write_text(text)


def _read(layout: Layout) -> str:
    return (layout.home / HOST).read_text()


def test_the_version_that_lost_is_restored_on_another_node(tmp_path: Path) -> None:
    """Conflict, list, show, restore by the other node, back to both homes; then remove."""
    repository = tmp_path / "repository"
    repository.mkdir()
    one, two = (_layout(tmp_path, host, repository) for host in ("node-1", "node-2"))
    (one.home / "hosts").mkdir()
    _write(one, "<Host>first</Host>")
    with ExitStack() as stack:
        first = stack.enter_context(AgentProcess(one, **QUICK))
        first.wait_started()
        second = stack.enter_context(AgentProcess(two, **QUICK))
        second.wait_started()
        assert "first" in _read(two)

        with _asleep(first):
            _write(two, "<Host>from node two</Host>")
            in_repository = repository / one.system / HOST
            eventually(lambda: "two" in in_repository.read_text(), what="the version that wins")
            _write(one, "<Host>from node one</Host>")
        eventually(lambda: "two" in _read(one), what="the winner on the node that lost")

        [kept] = json.loads(second.command("conflicts", "list", "--json").stdout)
        assert (kept["path"], kept["host"]) == (HOST, "node-1")
        assert kept["key"] in second.command("conflicts", "list").stdout
        assert second.command("conflicts", "show", HOST).stdout == "<Host>from node one</Host>"
        assert first.status()["conflicts"]["newest"][0]["key"] == kept["key"]
        assert "conflicts:" in first.command("status").stdout

        missing = second.command("conflicts", "restore", "hosts/None.xml")
        assert missing.returncode == 1
        assert "no version of 'hosts/None.xml'" in missing.stderr

        restored = second.command("conflicts", "restore", kept["key"])
        assert restored.returncode == 0, restored.stderr
        eventually(lambda: "one" in _read(two), what="the restored version where it was restored")
        eventually(lambda: "one" in _read(one), what="the restored version on the other node")

        [replaced] = json.loads(first.command("conflicts", "list", "--json").stdout)
        assert replaced["key"] in restored.stdout
        assert first.command("conflicts", "show", HOST).stdout == "<Host>from node two</Host>"
        assert first.command("conflicts", "remove", replaced["key"]).returncode == 0
        assert first.command("conflicts", "list").stdout == ""
        report = first.command("sync", "--once").stdout
        assert report == "configuration: done\n  nothing: home and repository are in step\n"
        assert first.stop() == second.stop() == 0


def test_without_an_agent_the_command_says_so(tmp_path: Path) -> None:
    """In words, with what to look at; never a traceback."""
    ended = run_command(_layout(tmp_path, "node-1", tmp_path), "conflicts", "list")
    assert ended.returncode == 1
    assert "no harmony-agent answers on" in ended.stderr
    assert "Traceback" not in ended.stderr
