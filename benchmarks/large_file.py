"""One file of a gigabyte through the configuration sync: memory, and speed against plain copying.

    python -m benchmarks.large_file [--mib N] [TYPE…]

Each push and pull is a process of its own; memory is its peak beyond that of the same process with
a small file. The bound is what this machine needs to read the file, hash it and write a synced copy
of it, measured in the same run.
"""

import argparse
import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.sync_speed import ours
from benchmarks.sync_targets import TARGETS, Target

_MIB: Final = 1024 * 1024


def write(path: Path, mib: int) -> None:
    """A synced file whose every MiB is another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    block = os.urandom(_MIB)
    with path.open("wb") as file:
        for number in range(mib):
            file.write(number.to_bytes(16) + block[16:])
        os.fsync(file.fileno())


def copy(source: Path, target: Path) -> float:
    """Seconds for reading, hashing and writing with a sync."""
    begun = time.perf_counter()
    found = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while piece := reader.read(4 * _MIB):
            found.update(piece)
            writer.write(piece)
        os.fsync(writer.fileno())
    seconds = time.perf_counter() - begun
    target.unlink()
    return seconds


def measure(kind: str, target: Target, scratch: Path, mib: int) -> None:
    """Push and pull a small file, then the large one; print the difference."""
    peaks = {}
    for name, size in (("small", 1), ("large", mib)):
        node = scratch / name
        write(node / "home/certs/large", size)
        push = ours(target, name, node)
        pull = ours(target, name, node / "second")
        peaks[name] = (push.peak_mib, pull.peak_mib)
        arrived = (node / "second/home/certs/large").stat().st_size
        assert arrived == size * _MIB, f"{arrived} bytes arrived"
    bound = copy(scratch / "large/home/certs/large", scratch / "copy")
    for way, run, before, after in zip(
        ("push", "pull"), (push, pull), peaks["small"], peaks["large"], strict=True
    ):
        print(
            f"{kind:10} {way}  {mib / run.seconds:5.0f} MiB/s   "
            f"plain copy {mib / bound:5.0f} MiB/s   ratio {bound / run.seconds:4.2f}   "
            f"memory {before:3.0f} MiB + {after - before:2.0f} MiB",
            flush=True,
        )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="a large file through the sync")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("types", nargs="*", default=("file", "smb", "s3"), metavar="TYPE")
    options = parser.parse_args()
    for kind in options.types:
        with tempfile.TemporaryDirectory(prefix="large-file-") as directory:
            scratch = Path(directory)
            with TARGETS[kind](scratch) as target:
                measure(kind, target, scratch, options.mib)


if __name__ == "__main__":
    main()
