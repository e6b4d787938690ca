"""What an idle agent costs: memory per repository type, CPU, time to the first probe's answer.

    python -m benchmarks.footprint [TYPE…]

Prints each figure with the design's budget and the ratio of the two. Memory is the resident set
after the first pull and 20 idle seconds; CPU is counted over those seconds by the kernel. The agent
runs as in the image: from compiled bytecode, with two arenas, and without `rich` and `pygments`,
which development tools bring and httpx loads where it finds them.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx

from fixtures.demo import EXECUTABLE, Demo, show
from fixtures.demo_backends import REPOSITORIES
from fixtures.serve import free_port

BUDGET_MIB: Final = {"file": 48, "smb": 60, "s3": 70, "azureblob": 80, "gcpbucket": 100}
BUDGET_CPU: Final = 0.5  # percent of a core
BUDGET_START: Final = 0.5  # seconds from process start to the first 200 of /livez
IDLE: Final = 20.0  # seconds
_TICK: Final = os.sysconf("SC_CLK_TCK")


def as_in_the_image(scratch: Path) -> None:
    """Set the environment that the agents inherit."""
    for package in ("rich", "pygments"):
        (scratch / package).mkdir()
        (scratch / package / "__init__.py").write_text('raise ImportError("not in the image")')
    os.environ.update(
        MALLOC_ARENA_MAX="2",
        PYTHONDONTWRITEBYTECODE="",
        PYTHONPYCACHEPREFIX=str(scratch / "bytecode"),
        PYTHONPATH=str(scratch),
    )


def resident_mib(pid: int) -> float:
    """The resident set of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """CPU seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def measure_idle(repository: str) -> tuple[float, float]:
    """Resident MiB and percent of a core of an agent whose Harmony has ended."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Demo(Path(directory) / "demo", repository, "local") as demo,
    ):
        show(demo)
        demo.harmony.terminate()
        demo.harmony.wait()
        time.sleep(5)  # what Harmony left is pushed
        before = cpu_seconds(demo.agent.pid)
        time.sleep(IDLE)
        spent = cpu_seconds(demo.agent.pid) - before
        return resident_mib(demo.agent.pid), 100 * spent / IDLE


def measure_start() -> float:
    """Seconds from process start to the first 200 of /livez; the best of five."""
    return min(_one_start() for _ in range(5))


def _one_start() -> float:
    with (
        tempfile.TemporaryDirectory() as directory,
        Demo(Path(directory) / "demo", "file", "local") as demo,
    ):
        demo.agent.kill()
        demo.agent.wait()
        port = free_port()
        environment = {**demo.environment, "HARMONY_AGENT_BIND": f"127.0.0.1:{port}"}
        begun = time.perf_counter()
        with subprocess.Popen(
            [EXECUTABLE, "run"], env=environment, stderr=subprocess.DEVNULL
        ) as agent:
            while not _answers(port):
                time.sleep(0.005)
            took = time.perf_counter() - begun
            agent.terminate()
        return took


def _answers(port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/livez"
        return httpx.get(url, trust_env=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _row(what: str, figure: float, budget: float, unit: str) -> str:
    return f"{what:32} {figure:8.2f} {unit:4} budget {budget:6.1f}   ratio {figure / budget:.2f}"


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as scratch:
        as_in_the_image(Path(scratch))
        measure(sys.argv[1:] or list(REPOSITORIES))


def measure(repositories: Sequence[str]) -> None:
    """Measure these, and the start."""
    rows = [_row("start to first /livez", measure_start(), BUDGET_START, "s")]
    for repository in repositories:
        memory, cpu = measure_idle(repository)
        rows.append(_row(f"{repository}: resident", memory, BUDGET_MIB[repository], "MiB"))
        rows.append(_row(f"{repository}: idle CPU", cpu, BUDGET_CPU, "%"))
    print("\n" + "\n".join(rows))


if __name__ == "__main__":
    main()
