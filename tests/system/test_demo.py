"""`make demo` shows everything on each repository type and each log system."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    ("repository", "log_system"),
    [
        ("file", "local"),
        ("smb", "local"),
        ("s3", "local"),
        ("azureblob", "local"),
        ("gcpbucket", "local"),
        ("file", "splunk"),
        ("file", "datadog"),
    ],
)
def test_the_demo_sees_every_milestone_and_drains(
    tmp_path: Path, repository: str, log_system: str
) -> None:
    """Directories, files, log events, license and probes are seen, and agent and Harmony end
    with 0."""
    command = ["-m", "fixtures.demo", "--once", "--repository", repository]
    command += ["--log-system", log_system, "--root", str(tmp_path / "demo")]
    ended = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=180,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("[ok]") == 9
    assert "Harmony ended with 0, the agent with 0" in ended.stdout


def test_who_asks_twice_for_the_end_gets_it_once(tmp_path: Path) -> None:
    """A second wish, such as the one that make passes on, neither breaks off the draining nor ends
    in a traceback."""
    command = [sys.executable, "-m", "fixtures.demo", "--root", str(tmp_path / "demo")]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("Ctrl-C drains"):
                break
        demo.send_signal(signal.SIGINT)
        demo.send_signal(signal.SIGTERM)
        rest = demo.stdout.read()
    assert demo.returncode == 0, rest
    assert "Harmony ended with 0, the agent with 0" in rest
    assert "Traceback" not in rest
