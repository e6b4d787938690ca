"""`harmony-agent conflicts`, with an agent that is told what to answer."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harmony_agent.cli import conflicts as module

KEY = ".harmony-agent/conflicts/hosts/a.xml/20260801T102030Z-node-1-0123abcd"
KEPT = {
    "key": KEY,
    "path": "hosts/a.xml",
    "time": "2026-08-01T10:20:30Z",
    "host": "node-1",
    "sizeBytes": 12345,
}


class Agent:
    """Answers as told and notes what it is asked."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] = {}
        self.asked: list[tuple[str, str, Any]] = []

    def ask(
        self, state_dir: Path, method: str, path: str, *, body: Any = None, limit: float
    ) -> dict[str, Any]:
        """See harmony_agent.cli.control.ask."""
        self.asked.append((method, path, body))
        return self.answer


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Agent:
    """The agent all commands ask."""
    agent = Agent()
    monkeypatch.setattr(module, "ask", agent.ask)
    return agent


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(module.conflicts, arguments, catch_exceptions=False)


def test_the_list_is_a_table_whose_last_column_can_be_copied(agent: Agent) -> None:
    """One line per version below a head."""
    agent.answer = {"conflicts": [KEPT, {**KEPT, "host": "n", "sizeBytes": 1}]}
    assert _run("list").stdout.splitlines() == [
        "TIME                  NODE    BYTES  VERSION",
        f"2026-08-01T10:20:30Z  node-1  12345  {KEY}",
        f"2026-08-01T10:20:30Z  n           1  {KEY}",
    ]
    assert json.loads(_run("list", "--json").stdout)[0] == KEPT
    assert agent.asked[0] == ("POST", "/control/conflicts/list", None)


def test_an_empty_list_prints_nothing_to_read(agent: Agent) -> None:
    """A script gets an empty output, a person a word."""
    agent.answer = {"conflicts": []}
    ended = _run("list")
    assert (ended.stdout, ended.stderr) == ("", "no conflicts\n")


def test_a_version_is_printed_byte_by_byte(agent: Agent) -> None:
    """Nothing is added, whatever it holds."""
    agent.answer = {**KEPT, "content": b64encode(b"\x00\xff\r\n").decode()}
    assert _run("show", "hosts/a.xml").stdout_bytes == b"\x00\xff\r\n"
    assert agent.asked == [("POST", "/control/conflicts/show", {"version": "hosts/a.xml"})]


def test_a_version_is_compared_with_the_present_file(agent: Agent) -> None:
    """As diff does, from the file in this home to the kept version."""
    agent.answer = {
        **KEPT,
        "content": b64encode(b"<a>\n<b/>\n</a>\n").decode(),
        "present": b64encode(b"<a>\n<c/>\n</a>\n").decode(),
    }
    assert _run("show", "--diff", KEY).stdout.splitlines() == [
        f"--- {KEPT['path']}",
        f"+++ {KEY}",
        "@@ -1,3 +1,3 @@",
        " <a>",
        "-<c/>",
        "+<b/>",
        " </a>",
    ]


def test_what_is_no_text_is_only_said_to_differ(agent: Agent) -> None:
    """Nothing unprintable reaches the terminal; equal content gives no output, like diff."""
    agent.answer = {
        **KEPT,
        "content": b64encode(b"\xff\x00").decode(),
        "present": b64encode(b"x").decode(),
    }
    assert "(1 bytes)" in _run("show", "--diff", KEY).stdout
    agent.answer["present"] = agent.answer["content"]
    assert _run("show", "--diff", KEY).stdout == ""
    agent.answer["present"] = None
    assert "not in this home" in _run("show", "--diff", KEY).stderr


def test_restoring_tells_where_the_replaced_version_is(agent: Agent) -> None:
    """If there was one."""
    agent.answer = {**KEPT, "replaced": "other-key"}
    assert "other-key" in _run("restore", KEY).stdout
    agent.answer = {**KEPT, "replaced": None}
    assert _run("restore", KEY).stdout == "hosts/a.xml is restored\n"
    agent.answer = KEPT
    assert _run("remove", KEY).stdout == f"{KEY} is removed\n"
