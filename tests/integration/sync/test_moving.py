"""A rotated secret that leads the runtime repository to another folder, or bucket, which another
pod of the node's name holds: it is not written before that one gives it back."""

import json
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.demo_backends import secret
from fixtures.servers.seaweedfs import SeaweedFs
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import LEASE
from tests.integration.repositories.backends import s3_settings
from tests.integration.sync.outside import Bucket, Folder, Outside
from tests.integration.sync.pod import new_system, pod, start
from tests.system.agent_process import AgentProcess, Layout, eventually

pytestmark = pytest.mark.server

LIMIT = 120.0  # seconds for what takes a few on a machine with nothing else to do


@dataclass(frozen=True)
class Place:
    """A place for the runtime repository: the secret that leads there, and how others see it."""

    secret: str
    outside: Outside
    location: str

    def messages(self) -> dict[str, bytes]:
        """The messages in the node's folder, by name."""
        prefix = "node-1/AS2/data/"
        return {
            path.removeprefix(prefix): content
            for path, content in self.outside.files().items()
            if path.startswith(prefix)
        }

    def owner(self) -> str | None:
        """Who holds the lease of the node's folder; None: nobody."""
        path = f"node-1/{LEASE}"
        if isinstance(self.outside, Folder):
            return _owner((self.outside.root / path).read_bytes())
        assert isinstance(self.outside, Bucket)

        async def read(repository: Repository) -> bytes:
            return (await repository.read(path)).data

        return _owner(self.outside.do(read))


def _owner(lease: bytes) -> str | None:
    owner: str | None = json.loads(lease)["owner"]
    return owner


def folders(scratch: Path, system: str) -> list[Place]:
    """Two folders on a disk."""
    roots = [scratch / "one", scratch / "another"]
    for root in roots:
        root.mkdir()
    return [
        Place(secret("file", rootPath=root), Folder(root / system), str(root / system))
        for root in roots
    ]


def buckets(store: SeaweedFs, system: str) -> list[Place]:
    """Two buckets of an S3 server."""
    another = f"another-{secrets.token_hex(4)}"
    store.make_bucket(another)
    return [
        Place(
            secret(
                "s3",
                bucket=bucket,
                region="us-east-1",
                endpoint=store.endpoint,
                pathStyle="on",
                accessKey=store.access_key,
                secretAccessKey=store.secret_key,
            ),
            Bucket(s3_settings(store, bucket=bucket), system),
            f"s3://{bucket}/{system}",
        )
        for bucket in (store.bucket, another)
    ]


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_another_place_is_written_once_its_owner_gives_it_back(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Not ready meanwhile, and told who holds it. The old place is given back; then everything of
    home arrives at the new one, what is there besides is set aside, and on the way back as well."""
    system = new_system()
    store = None if kind == "file" else request.getfixturevalue("seaweedfs")
    here, there = folders(tmp_path, system) if store is None else buckets(store, system)
    ours, theirs = (pod(tmp_path / name, None, system) for name in ("ours", "theirs"))
    ours.write_secrets(cleo_runtime_repo=here.secret)
    theirs.write_secrets(cleo_runtime_repo=there.secret)
    with start(theirs) as other, start(ours) as agent:
        receive(theirs, "theirs")
        eventually(lambda: there.messages() == messages(theirs), LIMIT, "the other pod's message")
        for number in range(20):
            receive(ours, f"{number}")
        eventually(lambda: here.messages() == messages(ours), LIMIT, "all at the old place")

        ours.write_secrets(cleo_runtime_repo=there.secret)
        eventually(lambda: waits_for(agent, there), LIMIT, "the other pod named")
        receive(ours, "meanwhile")
        eventually(lambda: agent.status()["runtime"]["pending"] == 21, LIMIT, "all waits")
        assert agent.status()["lease"]["mayWrite"] is False
        assert there.messages() == messages(theirs)
        assert "meanwhile.id" not in here.messages()
        assert here.owner() is None

        assert other.stop() == 0
        eventually(lambda: there.messages() == messages(ours), LIMIT, "all at the new place")
        eventually(lambda: agent.probe("/readyz")[0] == 200, LIMIT, "ready again")
        assert len(here.messages()) == 20

        (ours.home / "AS2/data/7.id").unlink()
        eventually(lambda: there.messages() == messages(ours), LIMIT, "a delete as ever")
        ours.write_secrets(cleo_runtime_repo=here.secret)
        eventually(lambda: here.messages() == messages(ours), LIMIT, "all back at the old place")
        assert agent.stop() == 0
        assert "Traceback" not in agent.log
    assert here.owner() is None
    assert there.owner() is None


def receive(layout: Layout, name: str) -> None:
    """Harmony receives a message."""
    folder = layout.home / "AS2/data"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.id").write_text(name)


def messages(layout: Layout) -> dict[str, bytes]:
    """The messages in home, by name."""
    return {path.name: path.read_bytes() for path in (layout.home / "AS2/data").iterdir()}


def waits_for(agent: AgentProcess, place: Place) -> bool:
    """Whether the agent is not ready and says why: who holds the place."""
    code, lines = agent.probe("/readyz?verbose")
    line = next((line for line in lines.splitlines() if line.startswith("[-]lease")), "")
    told = f"{place.location}/node-1 is held by node-1 on {socket.gethostname()}"
    return code == 503 and told in line
