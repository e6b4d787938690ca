"""Questions to the running agent, and what becomes of bad answers."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from harmony_agent.cli.control import ControlError, NotRunning, ask


@contextmanager
def agent(state_dir: Path, answer: bytes) -> Iterator[list[bytes]]:
    """Something that gives `answer` to one request on the control socket; the requests it got."""
    got: list[bytes] = []
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(state_dir / "agent.sock"))
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer, peer.makefile("rb") as lines:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += lines.readline()
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                got.append(head + lines.read(int(length or 0)))
                peer.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield got
        thread.join(timeout=60)


def answer_of(status: str, value: Any, kind: str = "application/json") -> bytes:
    """An HTTP answer."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose path is short enough for a socket."""
    return tmp_path_factory.mktemp("s")


def test_a_question_and_its_answer(state_dir: Path) -> None:
    """Parameters are quoted, the body is JSON, and the answer comes back as it was given."""
    with agent(state_dir, answer_of("200 OK", {"resources": ["ü"]})) as got:
        found = ask(state_dir, "POST", "/api/logs", params={"text": "a b&c"}, body={"n": 1})
    assert found == {"resources": ["ü"]}
    assert got[0].startswith(b"POST /api/logs?text=a+b%26c HTTP/1.1\r\n")
    assert got[0].endswith(b'\r\n\r\n{"n": 1}')


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (answer_of("503 Service Unavailable", {"message": "the agent is starting"}), "is starting"),
        (answer_of("500 Internal Server Error", b"oh dear", "text/plain"), "oh dear"),
        (answer_of("400 Bad Request", {}), "HTTP 400"),
    ],
)
def test_a_refusal_comes_in_the_agents_own_words(
    state_dir: Path, answer: bytes, words: str
) -> None:
    """JSON or not, a person is told why."""
    with agent(state_dir, answer), pytest.raises(ControlError, match=words):
        ask(state_dir, "GET", "/api/status")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", answer_of("200 OK", b"x" * 9)[:-5]])
def test_what_is_no_answer_counts_as_no_agent(state_dir: Path, answer: bytes) -> None:
    """It ended meanwhile, or something else listens there."""
    with agent(state_dir, answer), pytest.raises(NotRunning, match=r"agent\.sock"):
        ask(state_dir, "GET", "/api/status")


def test_no_socket_is_no_agent(state_dir: Path) -> None:
    """Nothing runs, or its state directory is another one."""
    with pytest.raises(NotRunning, match="HARMONY_AGENT_STATE_DIR"):
        ask(state_dir, "GET", "/api/status")


def test_an_agent_that_does_not_answer_in_time_is_told_apart(state_dir: Path) -> None:
    """It runs, so it must not be taken for one that does not."""
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(state_dir / "agent.sock"))
        listener.listen()
        with pytest.raises(ControlError, match=r"within 0\.05 s"):
            ask(state_dir, "GET", "/api/status", limit=0.05)
