"""The log stream as a process of its own, for the benchmarks.

    python -m benchmarks.streaming HOME STATE_DIR SETTINGS

SETTINGS is a JSON file: `system` is `splunk` or `datadog`, `settings` its properties, `ca` a PEM
file, `until` the number of events after which it ends (0: never). When it ends, or on SIGTERM, it
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

from pydantic import TypeAdapter

from harmony_agent.lifecycle.health import Health
from harmony_agent.logs.stream import LogStream
from harmony_agent.logs.systems.connect import connect
from harmony_agent.settings import model


def spent() -> float:
    """CPU seconds of this process, in user and kernel mode."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mib() -> float:
    """The largest resident set of this program; rusage would count the parent's before exec."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]  # Linux


async def stream(home: Path, state_dir: Path, options: dict[str, Any]) -> None:
    """Stream until enough is delivered or SIGTERM comes, and tell what it took."""
    settings: model.LogSystem = TypeAdapter(model.LogSystem).validate_python(options["settings"])
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
    running = asyncio.create_task(log_stream.run())
    while not told.is_set():
        if 0 < options["until"] <= log_stream.status()["delivered"]:
            break
        await asyncio.sleep(0.02)
    used = spent() - begun
    running.cancel()
    await asyncio.wait([running])
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
