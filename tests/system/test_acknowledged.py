"""A message ID that the mirror reports as pushed survives whatever dies: agent, disk, server."""

import asyncio
import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import pytest

from fixtures.demo_backends import secret
from fixtures.servers.azurite import Azurite
from fixtures.servers.gcs import Gcs
from fixtures.servers.process import Server
from fixtures.servers.samba import Samba
from fixtures.servers.seaweedfs import SeaweedFs
from harmony_agent.core.errors import Unavailable
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.layout import LEASE
from harmony_agent.settings import model
from tests.integration.repositories.backends import (
    KINDS,
    azure_settings,
    gcs_settings,
    s3_settings,
    smb_settings,
)
from tests.integration.sync.pod import secret_of
from tests.system.agent_process import AgentProcess, Layout, eventually

pytestmark = pytest.mark.server

IDS = 60
MIRROR_ONLY = {
    f"HARMONY_AGENT_{job}": "off" for job in ("CONFIG_SYNC", "LICENSE", "LOG_STREAM")
}  # fmt: skip
_PUSHED = re.compile(
    r'^harmony_agent_sync_actions_total\{act="create",side="runtime"\} ([\d.]+)$', re.MULTILINE
)


_SERVERS: dict[str, tuple[Callable[[Path], Server], Callable[..., model.Repository]]] = {
    "smb": (Samba, smb_settings),
    "s3": (SeaweedFs, s3_settings),
    "azureblob": (partial(Azurite, durable=True), azure_settings),
    "gcpbucket": (partial(Gcs, anonymous=False), gcs_settings),
}


Runtime = tuple[Server | None, model.Repository, str]


@pytest.fixture(params=KINDS)
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runtime]:
    """A server of this test's own, none for a volume, and the runtime repository on it: settings
    and secret file."""
    if request.param == "file":
        (volume := tmp_path / "volume").mkdir()
        yield (
            None,
            model.FileRepository(root=PurePosixPath(volume)),
            secret("file", rootPath=volume),
        )
        return
    make, settings = _SERVERS[request.param]
    with make(tmp_path / "server") as server:
        yield server, settings(server), secret_of(server)


def receive(layout: Layout, numbers: range) -> dict[str, bytes]:
    """Harmony takes messages in: their IDs by file name."""
    folder = layout.home / "AS2" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    ids = {f"{number}.id": b"<%d@acme>" % number * 20 for number in numbers}
    for name, data in ids.items():
        (folder / name).write_bytes(data)
    return ids


def pushed(agent: AgentProcess) -> int:
    """How many files the mirror says it has pushed."""
    found = _PUSHED.search(agent.probe("/metrics")[1])
    return int(float(found[1])) if found else 0


async def forget_lease(settings: model.Repository, layout: Layout) -> None:
    """As a person does who knows that the pod is gone, and does not wait for its lease to end; the
    server may not be quite up again."""
    connector = connect(settings, f"{layout.system}/{layout.host}", ca_bundle=None)
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(Unavailable):
                    await connector.open()
                    await connector.delete(LEASE, (await connector.read(LEASE)).token)
                    return
                await asyncio.sleep(0.2)
    finally:
        await connector.close()


def test_acknowledged_message_ids_survive_agent_disk_and_server(
    runtime: Runtime, tmp_path: Path
) -> None:
    """All three are lost in one moment, in the middle of further pushes: the next pod of that name
    has every ID that was reported as pushed before Harmony may start, and none of them half."""
    server, settings, text = runtime
    layout = Layout(tmp_path)
    layout.write_secrets(cleo_runtime_repo=text)
    with AgentProcess(layout, **MIRROR_ONLY) as agent:
        agent.wait_started()
        ids = receive(layout, range(IDS))
        eventually(lambda: pushed(agent) == IDS, 60, "all IDs reported as pushed")
        more = receive(layout, range(IDS, 2 * IDS))
        eventually(lambda: pushed(agent) > IDS, 60, "further IDs on their way")
        agent.kill()
        if server is not None:
            server.kill()
    for lost in (layout.home, layout.state, layout.signals):
        shutil.rmtree(lost)
    layout.home.mkdir()
    if server is not None:
        server.start()
    asyncio.run(forget_lease(settings, layout))
    with AgentProcess(layout, **MIRROR_ONLY):
        eventually((layout.signals / "ready").exists, 60, "leave for Harmony to start")
        found = {path.name: path.read_bytes() for path in (layout.home / "AS2/data").iterdir()}
    assert ids.items() <= found.items() <= (ids | more).items()
