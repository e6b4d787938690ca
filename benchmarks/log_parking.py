"""An outage whose events are parked in a file repository, then drained: memory and CPU.

    python -m benchmarks.log_parking [--events 250000]

Splunk answers 503 while Harmony writes `events` into a log that rotates into its archive. Half a
minute later the agent parks copies of all of them. Then Splunk comes back: the log is delivered,
and when the last copy is deleted the outage is over. Bound for memory: 100 MiB, the interpreter
included; bound for the rate: the same stream without an outage (python -m benchmarks.log_delivery).
"""

import argparse
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.footprint import cpu_seconds, resident_mib
from benchmarks.log_backlog import fill
from benchmarks.receivers import receiving, streaming
from fixtures.harmony_log import HarmonyLog

_BOUND_MIB: Final = 100
_BEFORE: Final = 1000  # events that are delivered before the outage
_LIMIT: Final = 900.0  # seconds for each of the two halves
_SEGMENT: Final = re.compile(r"-(\d+)\.jsonl\.gz$")


@dataclass(frozen=True, slots=True)
class Spent:
    """What one half took: seconds, CPU seconds, the largest resident set in MiB."""

    seconds: float
    cpu: float
    peak: float


def parked(volume: Path) -> int:
    """How many events lie in the segments below `volume`."""
    found = (_SEGMENT.search(path.name) for path in volume.rglob("*.jsonl.gz"))
    return sum(int(match[1]) for match in found if match)


def spent_until(done: Callable[[], bool], pid: int) -> Spent:
    """What process `pid` takes until `done`, looked at four times a second."""
    begun, cpu, peak = time.monotonic(), cpu_seconds(pid), 0.0
    while not done():
        if time.monotonic() > begun + _LIMIT:
            raise RuntimeError(f"not done within {_LIMIT:g} s")
        peak = max(peak, resident_mib(pid))
        time.sleep(0.25)
    return Spent(time.monotonic() - begun, cpu_seconds(pid) - cpu, peak)


def measure(directory: Path, events: int) -> tuple[Spent, Spent]:
    """Parking of all events, and their delivery until no copy is left."""
    home, volume = directory / "home", directory / "volume"
    with receiving("splunk", directory) as receiver:
        log = HarmonyLog(home / "logs" / "Harmony.xml")
        log.start(datetime.now() - timedelta(hours=1))  # noqa: DTZ005 - local time, as in the log
        fill(log, _BEFORE)
        with streaming(receiver, home, directory / "state", volume=volume) as agent:
            spent_until(lambda: receiver.count() == _BEFORE, agent.pid)
            receiver.control(down=True)
            fill(log, events)
            parking = spent_until(lambda: parked(volume) >= events, agent.pid)
            receiver.control(down=False)
            draining = spent_until(
                lambda: parked(volume) == 0 and receiver.count() >= _BEFORE + events, agent.pid
            )
        arrived = receiver.count() - _BEFORE
    print(f"{events} events parked, {arrived} arrived, no copy is left")
    return parking, draining


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=250_000)
    events = parser.parse_args().events
    with TemporaryDirectory() as directory:
        parking, draining = measure(Path(directory), events)
    for what, spent in (("parked", parking), ("drained", draining)):
        print(
            f"{what:8} {events / spent.cpu:9,.0f} events per CPU second, "
            f"{events / spent.seconds:9,.0f} a second, {spent.peak:4.0f} MiB "
            f"({spent.peak / _BOUND_MIB:.2f} of the bound)"
        )


if __name__ == "__main__":
    main()
