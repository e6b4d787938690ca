"""The agent's configuration sync in a process of its own, for benchmarks that measure it.

    python -m benchmarks.sync_process JOB

JOB is a pickled, base64-encoded Job. The process takes the home on, goes on for `idle` seconds, and
prints a Result as JSON.
"""

import asyncio
import base64
import contextlib
import json
import pickle
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.layout import prepare_configuration
from harmony_agent.settings import model
from harmony_agent.sync.configuration import ConfigurationSync

__all__ = ["Job", "Result", "command"]


@dataclass(frozen=True)
class Job:
    """A home below `root` and the folder `system` of a repository."""

    settings: model.Repository
    system: str
    root: Path
    idle: float = 0.0


@dataclass(frozen=True)
class Result:
    """Seconds of the first pull alone, MiB at the peak of it and after the idle time."""

    seconds: float
    peak_mib: float
    idle_mib: float


def command(job: Job) -> list[str]:
    """The command line that does `job`."""
    packed = base64.b64encode(pickle.dumps(job)).decode()
    return [sys.executable, "-m", "benchmarks.sync_process", packed]


async def live(job: Job) -> Result:
    """Do the job as the agent does it."""
    scratch = job.root / "state"
    repository = Handle("configuration", connect(job.settings, job.system, ca_bundle=None))
    await repository.open()
    await prepare_configuration(repository)
    sync = ConfigurationSync(
        home=job.root / "home",
        state_dir=scratch,
        repository=repository,
        host=job.root.name,
        settings=model.SyncSettings(),
        health=Health(),
        harmony_runs=lambda: False,
    )
    begun = time.perf_counter()
    await sync.take_on()
    seconds = time.perf_counter() - begun
    peak = _mib("VmHWM")
    if job.idle:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(sync.run(), job.idle)
    result = Result(seconds, peak, _mib("VmRSS"))
    await sync.close()
    await repository.close()
    return result


def _mib(field: str) -> float:
    """A field of /proc/self/status; unlike ru_maxrss it knows nothing of our parent process."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def main() -> None:
    """See the module."""
    job: Job = pickle.loads(base64.b64decode(sys.argv[1]))
    print(json.dumps(asdict(asyncio.run(live(job)))))


if __name__ == "__main__":
    main()
