"""An hour's backlog while the log system is down, then drained at full speed: memory and rate.

    python -m benchmarks.log_backlog [--events 3600000]

Harmony writes `events`, an hour at 1,000 a second, into a log that rotates
at 5 MB into its archive, with Splunk answering 503. The whole backlog is written at once: what the
agent sees is the same, and an hour is not waited for. Then Splunk comes back. Bound for memory:
100 MiB; bound for the rate: the same stream without a backlog (python -m benchmarks.log_delivery).
"""

import argparse
import json
import time
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.receivers import receiving, streaming
from fixtures.harmony_log import HarmonyLog, element

_BOUND_MIB = 100
_DOWN = 45.0  # seconds: longer than the stream waits before it parks
_AT_ONCE = 1000


def write(path: Path, events: int) -> None:
    """A busy log with its archive."""
    log = HarmonyLog(path)
    log.start(datetime.now() - timedelta(hours=1))  # noqa: DTZ005 - local time, as in the log
    fill(log, events)


def fill(log: HarmonyLog, events: int) -> None:
    """Write `events` into a log that was started, with a rotation every 25,000."""
    for number in range(0, events, _AT_ONCE):
        if number and number % 25_000 == 0:
            log.rotate(log.path.parent / "archive", packing="gzip")
        moment = datetime.now()  # noqa: DTZ005 - as above
        log.write(
            b"".join(
                log.compose(
                    element("Detail", f"Executing step {n} of the action's script", level="1"),
                    thread=7 + n % 20,
                    command=n,
                    moment=moment,
                )
                for n in range(number, number + _AT_ONCE)
            )
        )


def resident_mib(pid: int) -> float:
    """The resident set of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measure(directory: Path, events: int) -> None:
    """Print memory while the log system is down, and rate and memory while it is drained."""
    home = directory / "home"
    path = home / "logs" / "Harmony.xml"
    with receiving("splunk", directory) as receiver:
        receiver.control(down=True)
        with streaming(receiver, home, directory / "state", until=events) as agent:
            write(path, events)
            down = 0.0
            until = time.monotonic() + _DOWN
            while time.monotonic() < until:
                down = max(down, resident_mib(agent.pid))
                time.sleep(0.5)
            begun = time.perf_counter()
            receiver.control(down=False)
            assert agent.stdout is not None
            result = json.loads(agent.stdout.readline())
            took = time.perf_counter() - begun
        arrived = receiver.count()
    print(f"{events} events written, {arrived} arrived")
    print(f"resident while down      {down:6.0f} MiB ({down / _BOUND_MIB:.2f} of the bound)")
    peak = result["peak_mib"]
    print(f"largest while draining   {peak:6.0f} MiB ({peak / _BOUND_MIB:.2f} of the bound)")
    rate, cpu = events / took, events / result["cpu"]
    print(f"drained at {rate:,.0f} a second, {cpu:,.0f} events per CPU second of the whole hour")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=3_600_000)
    arguments = parser.parse_args()
    with TemporaryDirectory() as directory:
        measure(Path(directory), arguments.events)


if __name__ == "__main__":
    main()
