"""Files too large for memory travel through both syncs, on real servers, in flat memory."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from harmony_agent.sync.home.streams import content_hash
from tests.integration.sync.conftest import MakeNodes
from tests.integration.sync.node import configured, mirrored

pytestmark = pytest.mark.server

_MIB = 1024 * 1024
_SIZE = 200  # MiB
_MOST_GROWTH = 64  # MiB; pieces on their way, and what libraries keep of them


def write_large(path: Path, seed: int) -> str:
    """A file whose every MiB is another; its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    block = os.urandom(_MIB)
    found = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(_SIZE):
            piece = f"{seed}-{number:>8}".encode() + block[16:]
            found.update(piece)
            file.write(piece)
    return found.hexdigest()


def reset_peak() -> float:
    """Forget the largest resident size there was; the present one, in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def peak_mib() -> float:
    """The largest resident size since then."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@pytest.mark.parametrize("kind", ["file", "smb", "s3"])
async def test_a_large_file_reaches_the_other_node_in_flat_memory(
    kind: str, make_nodes: MakeNodes
) -> None:
    """It arrives as it was, at the first pull as in running, and is never in memory as a whole."""
    first, second = make_nodes(kind, 2)
    digest = await asyncio.to_thread(write_large, first.home / "certs/large", 1)
    async with configured(first) as here, configured(second) as there:
        before = reset_peak()
        await here.take_on()
        await there.take_on()
        assert await asyncio.to_thread(content_hash, second.home / "certs/large") == digest
        assert peak_mib() - before < _MOST_GROWTH
    assert [path.name for path in (second.home / "certs").iterdir()] == ["large"]


async def test_a_large_message_is_mirrored_and_restored(make_nodes: MakeNodes) -> None:
    """A pod that lost its disk gets its own large files back."""
    (node,) = make_nodes("smb")
    digest = await asyncio.to_thread(write_large, node.home / "AS2/mdn/large", 2)
    async with mirrored(node) as mirror:
        before = reset_peak()
        await mirror.take_on()
        await mirror.flush(60.0)
        assert peak_mib() - before < _MOST_GROWTH
    (node.home / "AS2/mdn/large").unlink()
    for path in [*node.home.rglob("*"), *node.state.rglob("*")]:
        if path.is_file():
            path.unlink()
    async with mirrored(node) as mirror:
        await mirror.take_on()
    assert await asyncio.to_thread(content_hash, node.home / "AS2/mdn/large") == digest
