"""First push and first pull of many small files, the agent's and rclone's, on the same servers.

    python -m benchmarks.sync_speed [--files N] [--rounds N] [--scratch DIR] [TYPE…]

Both are whole processes, from start to end, and take turns in going first; figures are medians.
Ours runs from compiled bytecode, as in the image; it has every file on the disk before it counts,
and remembers it in a database. rclone does neither. rclone's flags (benchmarks/sync_targets.py) are
the fastest of `--sweep`, which tries 4 to 64 transfers; a push leaves out all looks at the
destination (`--no-check-dest`), a pull all checks of checksums. A second ratio, in brackets, is
against rclone followed by sync(1), which has the files on the disk as well. For a shared folder the
bound is printed too: what any Python program needs at least (benchmarks/sync_bound.py).

Nothing is deleted before all is over: for a minute ext4 does not hand out the inodes of deleted
files, and searches past all of them for each new one, so that whoever comes second would be several
times slower. For the same reason leave a few minutes between two runs.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import sync_bound
from benchmarks.sync_process import Job, command
from benchmarks.sync_targets import TARGETS, Target

SIZE: Final = 2048  # bytes
PER_FOLDER: Final = 100
PEERS: Final = ("file", "smb", "s3", "azureblob")
SWEEP: Final = (4, 8, 16, 32, 64)
_BYTECODE: Final = Path(tempfile.gettempdir()) / f"sync-speed-bytecode-{os.getuid()}"


@dataclass(frozen=True)
class Run:
    """One whole process: seconds, CPU seconds, MiB at the peak."""

    seconds: float
    cpu: float
    peak_mib: float = 0.0


def make_home(home: Path, files: int) -> None:
    """Certificates that do not compress, in folders of a hundred."""
    for number in range(files):
        path = home / "certs" / f"{number // PER_FOLDER:04}" / f"{number:06}.cer"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(SIZE))


def count(home: Path) -> int:
    """How many files arrived."""
    return sum(1 for path in (home / "certs").rglob("*.cer") if path.stat().st_size == SIZE)


def ours(target: Target, system: str, root: Path) -> Run:
    """Take on the home below `root`: a push if the repository is new, else a pull."""
    (root / "state").mkdir(parents=True, exist_ok=True)
    (root / "home").mkdir(exist_ok=True)
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(_BYTECODE)}
    run, output = _timed(command(Job(target.settings, system, root)), os.environ | bytecode)
    return replace(run, peak_mib=json.loads(output)["peak_mib"])


def rclone(target: Target, *arguments: str) -> Run:
    """One `rclone copy`."""
    whole = ["rclone", "copy", "--config=/dev/null", "--retries=1", "--ignore-times"]
    # rclone 1.60 refuses to start with this variable, which says nothing about our servers.
    inherited = {name: text for name, text in os.environ.items() if name != "AWS_CA_BUNDLE"}
    environment = {**inherited, **target.rclone_environment}
    return _timed([*whole, *target.flags, *arguments], environment)[0]


def bound(source: Path, scratch: Path) -> Run:
    """The bare copy of `source` to a new folder."""
    copy = sync_bound.command(source, scratch / "bound", scratch / "bound.db")
    run, _ = _timed(copy, os.environ)
    assert count(scratch / "bound") == count(source)
    os.sync()
    return run


def _timed(arguments: list[str], environment: Mapping[str, str]) -> tuple[Run, str]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    done = subprocess.run(
        arguments, env=environment, capture_output=True, text=True, check=False, timeout=1800
    )
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{arguments[:3]} failed:\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, cpu), done.stdout


def measure(target: Target, scratch: Path, files: int, turn: int) -> Iterator[tuple[str, Run]]:
    """Push and pull once by both; which run it is, and the run."""
    source = scratch / "source"
    for actor in ("ours", "rclone") if turn % 2 else ("rclone", "ours"):
        root = scratch / f"{actor}-{turn}"
        root.mkdir()
        (root / "home").mkdir()
        system = f"{actor}{turn}"
        there = target.rclone_path(system)
        if actor == "ours":
            shutil.copytree(source, root / "home", dirs_exist_ok=True)
            os.sync()
            yield "ours push", ours(target, system, root)
            yield "ours pull", ours(target, system, root / "second")
            arrived = root / "second" / "home"
        else:
            yield from _synced("push", rclone(target, "--no-check-dest", str(source), there))
            pull = rclone(target, "--ignore-checksum", there, str(root / "home"))
            yield from _synced("pull", pull)
            arrived = root / "home"
        found = count(arrived)
        assert found == files, f"{found} of {files} files arrived"
        os.sync()


def _synced(way: str, run: Run) -> Iterator[tuple[str, Run]]:
    """A run of rclone as it is, and with what it takes to have all of it on the disk."""
    begun = time.perf_counter()
    os.sync()
    yield f"rclone {way}", run
    yield f"synced {way}", replace(run, seconds=run.seconds + time.perf_counter() - begun)


def report(kind: str, files: int, runs: Iterable[tuple[str, Run]]) -> None:
    """Print medians and ratios."""
    by_name: dict[str, list[Run]] = {}
    for name, run in runs:
        by_name.setdefault(name, []).append(run)
    for way in ("push", "pull"):
        mine = by_name[f"ours {way}"]
        peer = by_name[f"rclone {way}"]
        seconds = median(run.seconds for run in mine)
        peers = median(run.seconds for run in peer)
        synced = median(run.seconds for run in by_name[f"synced {way}"])
        print(
            f"{kind:10} {way}  ours {files / seconds:7.0f} files/s   "
            f"rclone {files / peers:7.0f} files/s   "
            f"ratio {peers / seconds:5.2f} ({synced / seconds:5.2f})   "
            f"CPU {median(run.cpu for run in mine):6.1f} s "
            f"(rclone {median(run.cpu for run in peer):6.1f} s)   "
            f"peak {max(run.peak_mib for run in mine):4.0f} MiB",
            flush=True,
        )


def sweep(kind: str, target: Target, scratch: Path, files: int) -> None:
    """Print rclone's speed by its number of transfers."""
    flags = [flag for flag in target.flags if not flag.startswith("--transfers")]
    for transfers in SWEEP:
        tried = replace(target, flags=(*flags, f"--transfers={transfers}"))
        there = tried.rclone_path(f"sweep{transfers}")
        push = rclone(tried, "--no-check-dest", str(scratch / "source"), there)
        pull = rclone(tried, "--ignore-checksum", there, str(scratch / f"sweep{transfers}"))
        print(
            f"{kind:10} rclone --transfers={transfers:<2}  push {files / push.seconds:6.0f}   "
            f"pull {files / pull.seconds:6.0f} files/s",
            flush=True,
        )


def compare(kind: str, target: Target, scratch: Path, files: int, rounds: int) -> None:
    """Print what both made of `rounds` rounds, and for a shared folder the bound."""
    turns = [measure(target, scratch, files, turn) for turn in range(rounds)]
    report(kind, files, (run for runs in turns for run in runs))
    if kind == "file":
        bare = bound(scratch / "source", scratch)
        print(
            f"{kind:10} bound {files / bare.seconds:7.0f} files/s   CPU {bare.cpu:6.1f} s",
            flush=True,
        )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="first push and pull against rclone's")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", metavar="DIR", help="where homes and servers' files go")
    parser.add_argument("--sweep", action="store_true", help="only look for rclone's best flags")
    parser.add_argument("types", nargs="*", default=PEERS, metavar="TYPE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="sync-speed-") as directory:
        for kind in options.types:
            scratch = Path(directory) / kind
            make_home(scratch / "source", options.files)
            with TARGETS[kind](scratch) as target:
                if options.sweep:
                    sweep(kind, target, scratch, options.files)
                else:
                    compare(kind, target, scratch, options.files, options.rounds)


if __name__ == "__main__":
    main()
