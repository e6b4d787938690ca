"""Memory of the whole agent with many files, per repository type, against the bound of 150 MiB.

    python -m benchmarks.sync_memory [--files N] [TYPE…]

One node pushes N files of 2 KiB into a new repository, a second one pulls them into a new home;
both are real agents with the log store `local` and without license. Prints the peak of each and the
second one's resident set after the pull and a minute's idling, and beside it the peak of an agent
whose repository is empty.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.sync_speed import count, make_home
from fixtures.demo_backends import REPOSITORIES
from tests.system.agent_process import AgentProcess, Layout, eventually

BOUND: Final = 150.0  # MiB
IDLE: Final = 60.0  # seconds
LIMIT: Final = 1800.0  # seconds for a push or a pull


@contextmanager
def agent(layout: Layout) -> Iterator[AgentProcess]:
    """A node's agent, its first pull or push done."""
    with AgentProcess(
        layout,
        HARMONY_AGENT_LICENSE="off",
        HARMONY_AGENT_RUNTIME_MIRROR="off",
        HARMONY_AGENT_MAX_DELETE="100%",
    ) as process:
        process.wait_started(LIMIT)
        eventually(lambda: not process.status()["configuration"]["pending"], LIMIT, "a quiet sync")
        yield process


def mib(process: AgentProcess, field: str) -> float:
    """A field of the process's status in the kernel."""
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def measure(kind: str, root: Path, files: int) -> tuple[float, float, float]:
    """Peak of a push, peak of a pull, resident after it, each in MiB; with 0 `files` one agent's
    peak thrice."""
    with REPOSITORIES[kind](root) as (configuration, runtime):
        first, second = (Layout(root / name, host=name) for name in ("one", "two"))
        for layout in (first, second):
            layout.write_secrets(cleo_config_repo=configuration, cleo_runtime_repo=runtime)
        make_home(first.home, files)
        with agent(first) as process:
            push = mib(process, "VmHWM")
        if not files:
            return push, push, push
        with agent(second) as process:
            assert count(second.home) == files
            pull = mib(process, "VmHWM")
            time.sleep(IDLE)
            return push, pull, mib(process, "VmRSS")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="memory with many files")
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("types", nargs="*", default=list(REPOSITORIES), metavar="TYPE")
    options = parser.parse_args()
    for kind in options.types:
        figures = []
        for files in (0, options.files):
            with tempfile.TemporaryDirectory(prefix="sync-memory-") as directory:
                figures.append(measure(kind, Path(directory), files))
        (empty, _, _), (push, pull, idle) = figures
        print(
            f"{kind:10} {options.files} files   push {push:4.0f} MiB   pull {pull:4.0f} MiB   "
            f"idle {idle:4.0f} MiB   of {BOUND:g}: {max(push, pull) / BOUND:.2f}   "
            f"without files {empty:4.0f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
