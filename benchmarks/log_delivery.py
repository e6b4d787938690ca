"""From Harmony.xml to Splunk and Datadog: events per CPU second of the agent, end to end.

    python -m benchmarks.log_delivery [--megabytes 50]

The stand-in that receives runs in a process of its own and counts only as a witness that every
event arrived; `splunk ack` is a token with indexer acknowledgment. In the same run: bare expat over
the same bytes as the bound, and syslog-ng with a JSON-lines copy of the same events as the peer, if
it is installed (`scripts/install-benchmarks`).
"""

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

from benchmarks.log_reader import batches, parse_bare, per_cpu_second, sample_log
from benchmarks.receivers import receiving, streaming
from benchmarks.shipper import is_installed, ship
from harmony_agent.logs.sources.reader import EventReader
from harmony_agent.logs.systems.splunk_hec import Envelope

_GOAL = 40_000


# How each log system is set up; Splunk's indexers acknowledge a request a second after it came.
_ACKNOWLEDGED = {"set": {"use_ack": True, "ack_seconds": 1.0}}
_SETUPS: dict[str, tuple[str, dict[str, Any]]] = {
    "splunk": ("splunk", {}),
    "splunk ack": ("splunk", _ACKNOWLEDGED),
    "datadog": ("datadog", {}),
}


def measure(setup: str, home: Path, events: int, directory: Path) -> tuple[float, float, float]:
    """Events per CPU second, per second, and the agent's largest resident set in MiB."""
    kind, script = _SETUPS[setup]
    with receiving(kind, directory) as receiver:
        receiver.control(**script)
        begun = time.perf_counter()
        with streaming(receiver, home, directory / f"{setup}-state", until=events) as agent:
            assert agent.stdout is not None
            result = json.loads(agent.stdout.readline())
        took = time.perf_counter() - begun
        arrived = receiver.count()
    if arrived != events:
        raise RuntimeError(f"{setup}: {arrived} of {events} events arrived")
    return events / result["cpu"], events / took, result["peak_mib"]


def envelopes(data: bytes, target: Path) -> None:
    """The events of `data` as HEC envelopes, one a line, for the peer."""
    reader = EventReader(system="S", node="n", serial=lambda: None, zone=ZoneInfo("Europe/Berlin"))
    wrap = Envelope(host="n", source="harmony", sourcetype="cleo:harmony:event").wrap
    with target.open("wb") as file:
        for events in batches(reader, data):
            file.writelines(wrap(event).data + b"\n" for event in events)


def measure_peer(data: bytes, events: int, directory: Path) -> tuple[float, float]:
    """As `measure`, for syslog-ng."""
    lines = directory / "lines.json"
    envelopes(data, lines)
    with receiving("splunk", directory) as receiver:
        return ship(lines, events, receiver, directory)


def main() -> None:
    """Print the figures of both log systems, the bound, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=50)
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        directory = Path(name)
        home = directory / "home"
        (home / "logs").mkdir(parents=True)
        probe = sample_log(directory / "probe", 6_000)
        events = int(arguments.megabytes * 1e6 / (len(probe) / 6_000)) // 6 * 6
        data = sample_log(home / "logs", events)
        bare = per_cpu_second(parse_bare, data)
        print(f"{events} events, {len(data) / 1e6:.0f} MB, {len(data) / events:.0f} bytes each")
        print(f"bare expat  {bare:9,.0f} events per CPU second")
        for setup in _SETUPS:
            cpu, wall, peak = measure(setup, home, events, directory)
            print(
                f"{setup:10}  {cpu:9,.0f} events per CPU second ({cpu / bare:.2f} of expat, "
                f"{cpu / _GOAL:.2f} of the goal), {wall:,.0f} per second, {peak:.0f} MiB"
            )
        if is_installed():
            cpu, wall = measure_peer(data, events, directory)
            print(f"syslog-ng   {cpu:9,.0f} events per CPU second, {wall:,.0f} per second")


if __name__ == "__main__":
    main()
