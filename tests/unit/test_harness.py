"""What the tests themselves stand on: their limit of time, and the ports they hand out."""

import contextlib
import socket
import threading

import pytest

from fixtures import serve
from fixtures.serve import free_port
from tests.time_limit import time_limit


def test_a_failure_at_the_limit_that_is_swallowed_comes_again() -> None:
    """asyncio hands it to the task that happens to run, or a `finally` goes on waiting."""

    def wait_for_ever() -> None:
        with contextlib.suppress(BaseException):
            threading.Event().wait()
        threading.Event().wait()

    with pytest.raises(pytest.fail.Exception, match=r"more than 0\.01 s"), time_limit(0.01, 0.01):
        wait_for_ever()


@pytest.mark.parametrize("is_used", [True, False])
def test_a_port_is_given_once(is_used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one on which somebody listens, nor one that nobody has begun to use yet."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1] if is_used else free_port()
        monkeypatch.setattr(serve, "_PORTS", range(port, port + 1))
        with pytest.raises(RuntimeError, match="no free port"):
            free_port()
