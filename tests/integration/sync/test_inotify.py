"""The kernel's limits for real: a queue that overflows, no instance left, too few watches."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.sync.conftest import MakeNodes
from tests.integration.sync.disk import eventually, tree
from tests.integration.sync.node import Node, living

LIMIT = 120.0  # seconds; generous, since conditions are waited for
BEFORE_THE_RESCAN = 40.0  # seconds after which the look at everything, once a minute, would do
QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


def stored(node: Node) -> dict[str, bytes]:
    """What the repository holds."""
    return tree(node.folder.parent / "volume" / node.system)


def flood(one: Path, two: Path) -> None:
    """More events than the queue holds; those of two files in turn do not merge."""
    with one.open("wb", buffering=0) as first, two.open("wb", buffering=0) as second:
        for _ in range(QUEUE // 2 + 100):
            os.pwrite(first.fileno(), b"x", 0)
            os.pwrite(second.fileno(), b"x", 0)


@contextmanager
def stopped(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Nothing is read from the kernel's queue while the block runs."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


async def test_nothing_is_missed_when_the_queue_overflows(make_nodes: MakeNodes) -> None:
    """While the agent does not read, more happens than the queue holds: what came after is found
    at once, by looking at everything."""
    if QUEUE > 100_000:
        pytest.skip("this machine's queue is too long to fill")
    (node,) = make_nodes("file", 1)
    start = {"certs/changed.cer": b"1", "certs/kept.cer": b"kept", "certs/gone.cer": b"x"}
    for path, data in start.items():
        node.write(path, data)
    with living(node) as process:
        await eventually((node.folder / "joined").exists, LIMIT)
        node.write("certs/watched.cer", b"watched")
        await eventually(lambda: "certs/watched.cer" in stored(node), LIMIT)
        with stopped(process):
            flood(node.home / "certs/noise-1", node.home / "certs/noise-2")
            node.write("certs/changed.cer", b"2")
            node.write("certs/new.cer", b"new")
            (node.home / "certs/gone.cer").unlink()
        await eventually(lambda: stored(node) == node.files(), BEFORE_THE_RESCAN)
    assert {"certs/new.cer", "certs/noise-1"} <= node.files().keys()


@pytest.mark.parametrize(("limit", "value"), [("instances", 0), ("watches", 2)])
async def test_without_enough_inotify_every_change_is_found_by_polling(
    make_nodes: MakeNodes, limit: str, value: int
) -> None:
    """In a user namespace of its own with no inotify instance, or with fewer watches than there
    are folders: changes, deletes and new folders still travel, both ways."""
    under = [
        *("unshare", "--user", "--map-root-user", "sh", "-c"),
        f'echo {value} > /proc/sys/user/max_inotify_{limit} && exec "$@"',
        "sh",
    ]
    if subprocess.run([*under, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces with limits of their own here")
    one, two = make_nodes("file", 2)
    for folder in ("certs", "certs/deep", "data", "hosts"):
        one.write(f"{folder}/changed.xml", b"<a/>")
    one.write("certs/gone.cer", b"x")
    with ExitStack() as stack:
        for node in (one, two):
            stack.enter_context(living(node, *under * (node is one)))
            await eventually((node.folder / "joined").exists, LIMIT)
        await eventually(lambda: two.files() == one.files(), LIMIT)
        one.write("certs/deep/changed.xml", b"<b/>")
        one.write("data/new/folder/a.p12", b"new")
        (one.home / "certs/gone.cer").unlink()
        two.write("hosts/changed.xml", b"<c/>")
        await eventually(
            lambda: (
                two.files()
                == one.files()
                == {
                    "certs/changed.xml": b"<a/>",
                    "certs/deep/changed.xml": b"<b/>",
                    "data/changed.xml": b"<a/>",
                    "data/new/folder/a.p12": b"new",
                    "hosts/changed.xml": b"<c/>",
                }
            ),
            BEFORE_THE_RESCAN,
        )
