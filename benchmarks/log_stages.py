"""Where the log stream's CPU goes: microseconds per event of each stage, on the same events.

    python -m benchmarks.log_stages [--megabytes 20]

Each stage is run alone, three times, the best one counts; what is left of the whole stream
(`benchmarks.log_delivery`, in a process of its own) is sending: TLS, HTTP, the event loop, threads
and the checkpoint. Bound: bare expat over the same bytes.
"""

import argparse
import gzip
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from benchmarks.log_delivery import measure
from benchmarks.log_reader import batches, parse_bare, sample_log
from harmony_agent.logs.event import Event
from harmony_agent.logs.sources.pieces import complete_pieces
from harmony_agent.logs.sources.reader import EventReader
from harmony_agent.logs.systems.datadog_intake import Entries
from harmony_agent.logs.systems.splunk_hec import Envelope

_BATCH = 1000
_WHOLE = 2**31


def cpu(work: Callable[[], object]) -> float:
    """The least CPU seconds of three runs."""
    least = float("inf")
    for _ in range(3):
        begun = time.process_time()
        work()
        least = min(least, time.process_time() - begun)
    return least


def requests(entries: Sequence[bytes]) -> list[bytes]:
    """The bodies of requests of `_BATCH` entries each."""
    return [b"\n".join(entries[n : n + _BATCH]) for n in range(0, len(entries), _BATCH)]


def pack(bodies: Sequence[bytes]) -> list[bytes]:
    """`bodies` as they are sent."""
    return [gzip.compress(body, 1, mtime=0) for body in bodies]


def stages(data: bytes) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Seconds of the stages that all log systems share, and of each log system's own."""
    reader = EventReader(system="S", node="n", serial=lambda: None, zone=ZoneInfo("Europe/Berlin"))
    events: list[Event] = [event for some in batches(reader, data) for event in some]
    cut = cpu(lambda: (complete_pieces(data, _WHOLE), data.decode().split("</Event>")))
    read = cpu(lambda: [len(some) for some in batches(reader, data)])
    common = {"cut and decode": cut, "parse": read - cut}
    wrap = Envelope(host="n", source="harmony", sourcetype="cleo:harmony:event").wrap
    make, now = Entries("n").make, datetime.now(UTC)
    encoded: dict[str, Callable[[], list[bytes]]] = {
        "splunk": lambda: [wrap(event).data for event in events],
        "datadog": lambda: [piece.data for event in events for piece in make(event, now)],
    }
    own = {}
    for kind, encode in encoded.items():
        bodies = requests(encode())
        own[kind] = {"encode": cpu(encode), "gzip": cpu(partial(pack, bodies))}
    return common, own


def main() -> None:
    """Print the stages of both log systems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=20)
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        directory = Path(name)
        home = directory / "home"
        (home / "logs").mkdir(parents=True)
        probe = sample_log(directory / "probe", 6_000)
        events = int(arguments.megabytes * 1e6 / (len(probe) / 6_000)) // 6 * 6
        data = sample_log(home / "logs", events)
        print(f"{events} events, {len(data) / events:.0f} bytes each; microseconds per event")
        print(f"bare expat {1e6 * cpu(lambda: parse_bare(data)) / events:6.2f}")
        common, own = stages(data)
        for kind, stage in own.items():
            whole = 1e6 / measure(kind, home, events, directory)[0]
            told = {step: 1e6 * spent / events for step, spent in {**common, **stage}.items()}
            told["send and the rest"] = whole - sum(told.values())
            steps = ", ".join(f"{step} {spent:.2f}" for step, spent in told.items())
            print(f"{kind:10} {whole:6.2f} = {steps}")


if __name__ == "__main__":
    main()
