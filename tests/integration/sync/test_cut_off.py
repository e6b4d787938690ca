"""The way to the server breaks in the middle of the work: nothing is lost, nothing is half."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.servers.azurite import Azurite
from fixtures.servers.gcs import Gcs
from fixtures.servers.samba import Samba
from fixtures.servers.seaweedfs import SeaweedFs
from fixtures.wire import Wire
from harmony_agent.lifecycle.health import Health, Level
from tests.integration.repositories.backends import (
    azure_settings,
    gcs_settings,
    s3_settings,
    smb_settings,
)
from tests.integration.sync.conftest import MakeNodes
from tests.integration.sync.disk import eventually, tree
from tests.integration.sync.node import QUICK, Node, joined, opened
from tests.integration.sync.world import stored

pytestmark = pytest.mark.server

FILES = 120
SERVERS = ("smb", "s3", "azureblob", "gcpbucket")


def is_alarmed(health: Health) -> bool:
    """Whether the configuration is in trouble, which does not take the agent out of readiness."""
    levels = [c.level for c in health.conditions() if c.name == "configuration"]
    return levels == [Level.TROUBLE]


def certificates(count: int = FILES) -> dict[str, bytes]:
    """Files of a few KiB, all different."""
    return {f"certs/{number}.cer": b"%d " % number * 700 for number in range(count)}


def fill(node: Node, files: dict[str, bytes]) -> None:
    """Harmony has written these."""
    for path, data in files.items():
        node.write(path, data)


@pytest.fixture(params=SERVERS)
def through_wire(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Wire, list[Node]]]:
    """Two nodes that reach a real server through a wire."""
    makes: dict[str, tuple[str, Any]] = {
        "smb": ("samba", smb_settings),
        "s3": ("seaweedfs", s3_settings),
        "azureblob": ("azurite", azure_settings),
        "gcpbucket": ("gcs", gcs_settings),
    }
    fixture, make = makes[request.param]
    server: Samba | SeaweedFs | Azurite | Gcs = request.getfixturevalue(fixture)
    if isinstance(server, Samba):
        port, rest = server.port, ""
    else:
        port_text, _, rest = server.endpoint.partition("//127.0.0.1:")[2].partition("/")
        port = int(port_text)
    with Wire(port) as wire:
        endpoint = f"http://127.0.0.1:{wire.port}" + (f"/{rest}" if rest else "")
        changes = {"port": wire.port} if isinstance(server, Samba) else {"endpoint": endpoint}
        settings = make(server, **changes)
        system = f"Wire-{wire.port}-{request.param}"
        yield wire, [Node(tmp_path / f"node-{n}", settings, system, QUICK) for n in (1, 2)]


async def test_connections_cut_in_the_middle_leave_no_half_file(
    through_wire: tuple[Wire, list[Node]],
) -> None:
    """Every 50 kB the connection breaks, in either direction: first push and first pull end with
    exactly the files there were."""
    wire, (first, second) = through_wire
    files = certificates()
    fill(first, files)
    async with joined(first):
        wire.cut_every(50_000)
        fill(first, changed := {path: data + b"!" for path, data in list(files.items())[:40]})
        await asyncio.sleep(1)
        wire.heal()
        async with joined(second):
            wire.cut_every(50_000)
            first.write("certs/last.cer", b"last")
            await asyncio.sleep(1)
            wire.heal()
            wanted = files | changed | {"certs/last.cer": b"last"}
            await eventually(lambda: second.files() == wanted, limit=60)
    async with opened(first.connector()) as repository:
        assert await stored(repository) == wanted
    assert first.files() == wanted
    assert not [path for path in tree(second.state) if path.startswith("replaced/")]


@pytest.mark.parametrize("kind", ["smb", "s3", "azureblob"])
async def test_a_server_killed_in_the_middle_of_a_push_gets_the_rest_afterwards(
    kind: str, make_nodes: MakeNodes, request: pytest.FixtureRequest
) -> None:
    """It is killed when some files have arrived and started again: all of them arrive, whole."""
    server = request.getfixturevalue({"smb": "samba", "s3": "seaweedfs"}.get(kind, "azurite"))
    first, second = make_nodes(kind, 2)
    async with joined(first) as sync:
        files = certificates(300)
        fill(first, files)
        section = sync._side.status.section
        await eventually(lambda: bool(section()["pending"]) or len(first.files()) == 300)
        # Azurite keeps the last seconds in memory: killed, it would lose what it has accepted.
        await asyncio.to_thread(server.stop if kind == "azureblob" else server.kill)
        await asyncio.to_thread(server.start)
        async with opened(second.connector()) as repository:
            async with asyncio.timeout(60):
                while await stored(repository) != files:
                    await asyncio.sleep(0.5)
        async with joined(second):
            assert second.files() == files


async def test_silence_is_told_and_ends_by_itself(make_nodes: MakeNodes, samba: Samba) -> None:
    """The server takes what it is sent and never answers: a trouble is told within the limit of
    an operation, and once it answers again the change arrives without anybody's help."""
    with Wire(samba.port) as wire:
        (node,) = make_nodes("smb", 1, port=wire.port)
        health = Health()
        async with joined(node, health):
            wire.fall_silent()
            node.write("certs/during.cer", b"during")
            await eventually(lambda: is_alarmed(health), limit=45)
            wire.heal()
            arrived = samba.files / node.system / "certs/during.cer"
            await eventually(lambda: arrived.exists() and arrived.read_bytes() == b"during", 60)
