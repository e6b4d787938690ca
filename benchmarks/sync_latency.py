"""From a write in one node's home to the file in another's, and what an idle node asks for.

    python -m benchmarks.sync_latency [--edits 15] [--idle 60] [TYPE…]

Two nodes with default settings on the same real server. Bounds: 1 s on file and SMB, whose changes
are notified; 5 s, the poll interval, on object stores. Idle cost is counted by the handle on the
repository, and by the kernel, for both nodes together in one process.
"""

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.sync_targets import TARGETS
from harmony_agent.repositories.metrics import OPERATIONS
from harmony_agent.settings.model import SyncSettings
from tests.integration.sync.node import Node, joined

FILES: Final = 500
BOUND: Final = {"file": 1.0, "smb": 1.0}
OTHER_BOUND: Final = 5.0
LIMIT: Final = 60.0  # seconds for one edit to arrive


def operations() -> float:
    """Operations on repositories by this process so far."""
    return sum(
        sample.value
        for metric in OPERATIONS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


async def edit(number: int, here: Node, there: Node) -> float:
    """Seconds until a write in `here` is in `there`."""
    path, content = "hosts/0.xml", f"<Host edit='{number}'/>".encode()
    begun = time.monotonic()
    here.write(path, content)
    async with asyncio.timeout(LIMIT):
        while (there.home / path).read_bytes() != content:
            await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def measure(kind: str, nodes: tuple[Node, Node], edits: int, idle: float) -> None:
    """Print one line for latency and one for idle cost."""
    first, second = nodes
    for number in range(FILES):
        first.write(f"hosts/{number}.xml", b"<Host/>")
    async with contextlib.AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(joined(node))
        await asyncio.sleep(10)  # until both have listed and read each other's markers
        took = []
        for number in range(edits):
            turn = (first, second) if number % 2 else (second, first)
            took.append(await edit(number, *turn))
            await asyncio.sleep(3)
        bound = BOUND.get(kind, OTHER_BOUND)
        median = statistics.median(took)
        print(
            f"{kind:10} write to write  median {median:5.2f} s  max {max(took):5.2f} s  "
            f"bound {bound:.0f} s  ratio {median / bound:.2f}",
            flush=True,
        )
        before, cpu = operations(), time.process_time()
        await asyncio.sleep(idle)
        asked = (operations() - before) * 60 / idle / len(nodes)
        share = 100 * (time.process_time() - cpu) / idle / len(nodes)
        polls = 60 / SyncSettings().poll_interval
        print(
            f"{kind:10} idle            {asked:5.1f} requests a minute and node  "
            f"polls {polls:.0f}  ratio {asked / polls:.2f}  CPU {share:.2f} % of a core a node",
            flush=True,
        )


def main() -> None:
    """Measure each type."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=15)
    parser.add_argument("--idle", type=float, default=60)
    parser.add_argument("types", nargs="*", metavar="TYPE")
    options = parser.parse_args()
    for kind in options.types or TARGETS:
        with tempfile.TemporaryDirectory(prefix="sync-latency-") as directory:
            root = Path(directory)
            with TARGETS[kind](root) as target:
                nodes = [
                    Node(root / name, target.settings, "System", SyncSettings())
                    for name in ("node-1", "node-2")
                ]
                asyncio.run(measure(kind, (nodes[0], nodes[1]), options.edits, options.idle))


if __name__ == "__main__":
    main()
