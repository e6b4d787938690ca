"""`make demo` shows everything on each repository type and each log system."""

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
