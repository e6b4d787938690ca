"""Harmony's process in a shared process namespace."""

import subprocess
import sys
import uuid

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
