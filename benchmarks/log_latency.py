"""From append to received, at 1,000 events a second: latency and the agent's CPU.

    python -m benchmarks.log_latency [--seconds 20] [--rate 1000]

Harmony's side, the agent and the receiver are processes of their own on one clock. Bound: the same
events posted one by one, as fast as they are made, by a client that has nothing else to do.
"""

import argparse
import json
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from benchmarks.receivers import Receiver, streaming
from fixtures.harmony_log import HarmonyLog, element
from fixtures.serve import serving
from fixtures.splunk import SplunkStandIn
from fixtures.tls import TestAuthority

_GOAL = 0.300  # seconds, p99
_WARM_UP = 2.0  # seconds at the beginning that do not count
_BOUND = 200  # single posts


class Clocked:
    """The stand-in, with the moment at which each event was taken."""

    def __init__(self, stand_in: SplunkStandIn) -> None:
        self._stand_in = stand_in
        self.moments: list[float] = []

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """The ASGI application."""
        await self._stand_in.app(scope, receive, send)
        new = len(self._stand_in.events) - len(self.moments)
        self.moments += [time.time()] * new


def write(path: Path, rate: int, seconds: float) -> None:
    """Append events one by one; each bears the moment of its writing as its text."""
    log = HarmonyLog(path)
    log.start(datetime.now())  # noqa: DTZ005 - local time, as in the log
    begun = time.time()
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, begun + number / rate - time.time()))
        log.event(element("Detail", f"{time.time():.6f}", level="1"), thread=7)


def percentiles(latencies: Sequence[float]) -> str:
    """Median, 99th percentile and maximum in milliseconds."""
    cut = statistics.quantiles(latencies, n=100)
    p50, p99, most = (1000 * seconds for seconds in (cut[49], cut[98], max(latencies)))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {most:.0f} ms"


def bound(url: str, ca: Path) -> list[float]:
    """Seconds that single posts of one event take, over one kept connection."""
    took = []
    context = ssl.create_default_context(cafile=str(ca))
    with httpx.Client(verify=context, trust_env=False) as client:
        for _ in range(_BOUND):
            begun = time.time()
            client.post(
                f"{url}/services/collector/event",
                json={"event": {"message": f"{begun:.6f}"}},
                headers={"Authorization": "Splunk hec-token"},
            ).raise_for_status()
            took.append(time.time() - begun)
    return took


def measure(directory: Path, rate: int, seconds: float) -> None:
    """Print latencies and CPU."""
    stand_in = SplunkStandIn()
    clocked = Clocked(stand_in)
    authority = TestAuthority(directory / "tls")
    home = directory / "home"
    with serving(clocked, authority.issue()) as url:
        single = bound(url, authority.bundle)
        receiver = Receiver("splunk", url, authority.bundle)
        path = home / "logs" / "Harmony.xml"
        with streaming(receiver, home, directory / "state") as agent:
            command = [sys.executable, "-m", "benchmarks.log_latency", "--write", str(path)]
            command += ["--rate", str(rate), "--seconds", str(seconds)]
            subprocess.run(command, check=True)
            wanted = _BOUND + int(rate * seconds)
            while len(clocked.moments) < wanted:
                time.sleep(0.05)
            agent.terminate()
            assert agent.stdout is not None
            result = json.loads(agent.stdout.readline())
    written = [float(event["message"]) for event in stand_in.events[_BOUND:]]
    latencies = [
        there - here
        for here, there in zip(written, clocked.moments[_BOUND:], strict=True)
        if here >= written[0] + _WARM_UP
    ]
    p99 = statistics.quantiles(latencies, n=100)[98]
    print(f"single posts  {percentiles(single)}")
    print(f"the agent     {percentiles(latencies)} ({p99 / _GOAL:.2f} of the goal)")
    print(
        f"its CPU       {100 * result['cpu'] / seconds:.1f} % of a core at {rate} events a second"
    )


def main() -> None:
    """Measure, or write as Harmony's side of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--write", type=Path, help="only append to this log")
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments.write, arguments.rate, arguments.seconds)
        return
    with TemporaryDirectory() as directory:
        measure(Path(directory), arguments.rate, arguments.seconds)


if __name__ == "__main__":
    main()
