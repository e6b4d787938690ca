"""Events per CPU second: the log reader beside bare expat on the same bytes.

python -m benchmarks.log_reader [--events 100000] [--profile]
"""

import argparse
import cProfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.parsers import expat
from zoneinfo import ZoneInfo

from fixtures.harmony_log import HarmonyLog, element
from harmony_agent.logs.event import Event
from harmony_agent.logs.sources.position import Context
from harmony_agent.logs.sources.reader import EventReader
from harmony_agent.logs.systems.interface import Limits

_LIMITS = Limits(entries=1000, size=4 * 1024 * 1024)
_CHUNK = 256 * 1024


def sample_log(directory: Path, events: int) -> bytes:
    """A log as a busy Harmony writes it: every action of six events, one second for 40 events."""
    log = HarmonyLog(directory / "Harmony.xml")
    log.start(datetime(2026, 3, 10, 8))  # noqa: DTZ001 - local time, as in the log
    data = bytearray()
    for number in range(events // 6):
        names = {"host": "ACME AS2", "mailbox": "box1", "transferID": f"T{number:08d}"}
        moment = datetime(2026, 3, 10, 8) + timedelta(seconds=number * 6 // 40)  # noqa: DTZ001
        action = [
            element("Thread", type="AutoRun", action="<send>box1@ACME AS2"),
            element("Command", text=f'PUT "order {number}.edi"', type="AS2", line="2"),
            element("Detail", "Executing 'sh -c \"ls | wc -l\"'", level="1"),
            element(
                "File",
                source=f"outbox/order {number}.edi",
                direction="Local->Host",
                fileSize="10240",
                number="1 of 1",
                messageID=f"<{number:08d}@acme.example.com>",
                **names,
            ),
            element("Result", text="Success", command=f'PUT "order {number}.edi"', line="2"),
            element("End"),
        ]
        for content in action:
            data += log.compose(content, thread=7 + number % 20, command=number, moment=moment)
    log.write(bytes(data))
    return log.path.read_bytes()


def batches(reader: EventReader, data: bytes) -> Iterator[Sequence[Event]]:
    """The events of `data`, batch by batch."""
    context, offset = Context(), 0
    while True:
        parsed = reader.read(data[offset : offset + _CHUNK], context, _LIMITS)
        if not parsed.consumed:
            return
        yield parsed.events
        offset += parsed.consumed


def read_all(data: bytes) -> int:
    """Read `data` by our reader; the number of events."""
    reader = EventReader(system="S", node="n", serial=lambda: None, zone=ZoneInfo("Europe/Berlin"))
    return sum(len(events) for events in batches(reader, data))


def parse_bare(data: bytes) -> int:
    """Run expat over `data` with handlers that only count; the number of events."""
    count = 0

    def start(name: str, _attributes: dict[str, str]) -> None:
        nonlocal count
        count += name == "Event"

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.CharacterDataHandler = lambda _text: None
    parser.Parse(data, True)
    return count


def per_cpu_second(work: Callable[[bytes], int], data: bytes) -> float:
    """The best of three runs, in events per second of CPU time."""
    best = 0.0
    for _ in range(3):
        start = time.process_time()
        best = max(best, work(data) / (time.process_time() - start))
    return best


def main() -> None:
    """Print both figures and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    with TemporaryDirectory() as directory:
        data = sample_log(Path(directory), arguments.events)
    if arguments.profile:
        cProfile.runctx("read_all(data)", globals(), {"data": data}, sort="tottime")
        return
    ours, bare = per_cpu_second(read_all, data), per_cpu_second(parse_bare, data)
    print(f"{arguments.events} events, {len(data) / arguments.events:.0f} bytes each")
    print(f"bare expat {bare:10,.0f} events per CPU second")
    print(f"reader     {ours:10,.0f} events per CPU second ({ours / bare:.2f} of expat)")


if __name__ == "__main__":
    main()
