"""Harmony's process in a shared process namespace."""

import subprocess
import sys
import uuid

import pytest

from harmony_agent.lifecycle import harmony_process
from harmony_agent.lifecycle.harmony_process import find_processes, terminate


def test_a_process_is_found_by_its_command_line_and_terminated() -> None:
    """The one process whose command line matches gets SIGTERM; this one never matches."""
    mark = f"harmony-{uuid.uuid4()}"
    code = "import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, mark]) as process:
        while find_processes(mark) != [process.pid]:
            assert process.poll() is None
        assert terminate(mark) == [process.pid]
        assert process.wait(10) == -15
    assert find_processes(mark) == []


def test_a_process_of_another_user_does_not_keep_the_others_from_their_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that may be signaled are; that one may not is raised afterwards."""
    sent = []

    def kill(pid: int, _: int) -> None:
        if pid == 11:
            raise PermissionError
        if pid == 12:
            raise ProcessLookupError
        sent.append(pid)

    monkeypatch.setattr(harmony_process, "find_processes", lambda _: [11, 12, 13])
    monkeypatch.setattr("os.kill", kill)
    with pytest.raises(PermissionError):
        terminate("java")
    assert sent == [13]
