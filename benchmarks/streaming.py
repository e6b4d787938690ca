"""The log stream as a process of its own, for the benchmarks.

    python -m benchmarks.streaming HOME STATE_DIR SETTINGS

SETTINGS is a JSON file: `system` is `splunk` or `datadog`, `settings` its properties, `ca` a PEM
file, `until` the number of events after which it ends (0: never), `volume` the folder of a file
repository for parked events (null: none are parked). When it ends, or on SIGTERM, it
prints one line of JSON: events delivered, seconds of CPU, largest resident set in MiB.
"""

import asyncio
import json
import logging
import re
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from harmony_agent.lifecycle.health import Health
from harmony_agent.logs.pipeline.segments import ParkedFolder
from harmony_agent.logs.stream import LogStream
from harmony_agent.logs.systems.connect import connect
from harmony_agent.repositories.connect import connect as connect_repository
from harmony_agent.repositories.layout import PARKED
from harmony_agent.settings import model
from harmony_agent.settings.properties import build


def spent() -> float:
    """CPU seconds of this process, in user and kernel mode."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mib() -> float:
    """The largest resident set of this program; rusage would count the parent's before exec."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]  # Linux


async def park(log_stream: LogStream, volume: Path) -> None:
    """Park in an outage, in a file repository below `volume`."""
    folder = "bench/node-1"
    (volume / folder).mkdir(parents=True, exist_ok=True)
    settings = build(model.FileRepository, {"root": str(volume)})
    repository = connect_repository(settings, folder, ca_bundle=None)
    await repository.open()

    async def announce(_: bool) -> None:
        """There is no other node to tell."""

    await log_stream.park(ParkedFolder(repository, PARKED, lambda: True), announce)


async def stream(home: Path, state_dir: Path, options: dict[str, Any]) -> None:
    """Stream until enough is delivered or SIGTERM comes, and tell what it took."""
    settings: model.LogSystem
    if options["system"] == "splunk":
        settings = build(model.SplunkLogSystem, options["settings"])
    else:
        settings = build(model.DatadogLogSystem, options["settings"])
    system = connect(settings, node="node-1", state_dir=state_dir, ca_bundle=Path(options["ca"]))
    log_stream = LogStream(
        home=home,
        system="bench",
        node="node-1",
        serial=lambda: "AA1234-ZZ5678",
        state_dir=state_dir,
        log_system=system,
        health=Health(),
        time_zone="Europe/Berlin",
    )
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    begun = spent()
    running = [asyncio.create_task(log_stream.run())]
    if options["volume"]:
        running.append(asyncio.create_task(park(log_stream, Path(options["volume"]))))
    while not told.is_set():
        if 0 < options["until"] <= log_stream.status()["delivered"]:
            break
        await asyncio.sleep(0.25)  # fifty looks a second were a tenth of all CPU at 2,000 events
    used = spent() - begun
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    result = {
        "delivered": log_stream.status()["delivered"],
        "cpu": used,
        "peak_mib": peak_mib(),
    }
    await log_stream.close()
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    asyncio.run(
        stream(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text()))
    )
