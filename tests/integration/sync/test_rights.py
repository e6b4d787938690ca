"""Rights on the repository that are taken and given back while the agent runs, on real servers:
told with what to do, nothing concluded from it, and all that waited arrives by itself."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures.servers.gcs import Gcs
from fixtures.servers.samba import Samba
from fixtures.servers.seaweedfs import SeaweedFs
from tests.integration.repositories.backends import gcs_settings, s3_settings
from tests.integration.sync.disk import tree
from tests.integration.sync.outside import Bucket, Folder, Outside
from tests.integration.sync.pod import (
    CAPLESS,
    HASTY,
    gcs_secret,
    new_system,
    pod,
    s3_secret,
    smb_secret,
    start,
)
from tests.system.agent_process import AgentProcess, Layout, eventually

pytestmark = pytest.mark.server

LIMIT = 120.0  # seconds for what takes a few on a machine with nothing else to do
FILES = {f"certs/deep/{number}.cer": b"certificate %d" % number for number in range(12)}
FILES |= {"conf/Options.xml": b"<Options/>", "certs/upper.cer": b"upper"}
OWN = {"AS2/data/1.id": b"1@acme"}

Change = Callable[[], None]


def put_home(layout: Layout, path: str, data: bytes) -> None:
    """Harmony writes a file."""
    target = layout.home / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def both(layout: Layout, shared: dict[str, bytes], own: dict[str, bytes]) -> dict[str, bytes]:
    """What the repository holds when it holds these."""
    return {**shared, **{f"{layout.host}/{path}": data for path, data in own.items()}}


def told(agent: AgentProcess, words: str) -> bool:
    """Whether probe, status and log all say so, and the agent stays ready."""
    code, lines = agent.probe("/readyz?verbose")
    line = next((line for line in lines.splitlines() if line.startswith("[!]configuration")), "")
    return (
        code == 200
        and words in line
        and words in agent.status()["configuration"]["trouble"]
        and words in agent.log
    )


def survive(
    layout: Layout,
    outside: Outside,
    take: Change,
    give: Change,
    words: str,
    program: tuple[str, ...],
) -> None:
    """Rights are taken while both sides go on working, and given back; `words` tell of it."""
    for path, data in {**FILES, **OWN}.items():
        put_home(layout, path, data)
    with start(layout, program) as agent:
        agent.wait_started(LIMIT)
        eventually(lambda: outside.files() == both(layout, FILES, OWN), LIMIT, "the first push")
        take()
        try:
            put_home(layout, "certs/deep/here.cer", b"made here")
            put_home(layout, "certs/deep/1.cer", b"certificate 1, renewed")
            (layout.home / "certs/deep/2.cer").unlink()
            put_home(layout, "AS2/data/2.id", b"2@acme")
            outside.put("certs/deep/there.cer", b"made there")
            eventually(lambda: told(agent, words), LIMIT, f"{words} in {agent.log_path}")
            unseen = both(layout, FILES, {}) | {"certs/deep/there.cer": b"made there"}
            there = outside.files()
            assert {path: there.get(path) for path in unseen} == unseen
            home = FILES | OWN | {"certs/deep/here.cer": b"made here", "AS2/data/2.id": b"2@acme"}
            home["certs/deep/1.cer"] = b"certificate 1, renewed"
            del home["certs/deep/2.cer"]
            assert tree(layout.home) == home
        finally:
            give()
        whole = home | {"certs/deep/there.cer": b"made there"}
        own = OWN | {"AS2/data/2.id": b"2@acme"}
        shared = {path: data for path, data in whole.items() if path not in own}
        eventually(lambda: tree(layout.home) == whole, LIMIT, "what was made there")
        eventually(lambda: outside.files() == both(layout, shared, own), LIMIT, "made here")
        eventually(lambda: "[!]" not in agent.probe("/readyz?verbose")[1], LIMIT, "recovery")
        assert "Traceback" not in agent.log
        assert agent.stop() == 0
    assert not tree(layout.state / "replaced")


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ((), "permission denied (AccessDenied); allow s3:GetObject, s3:PutObject"),
        (("Read", "List"), "permission denied (AccessDenied); allow s3:GetObject, s3:PutObject"),
    ],
    ids=["nothing", "only reading"],
)
def test_rights_in_a_bucket(
    actions: tuple[str, ...], words: str, seaweedfs: SeaweedFs, tmp_path: Path
) -> None:
    """An account of S3 that may do `actions` alone for a while."""
    key, secret_key, system = f"AK{new_system()}", "secret-of-node", new_system()
    outside = Bucket(s3_settings(seaweedfs), system)

    def admit(*actions: str) -> None:
        seaweedfs.admit(key, secret_key, *actions)

    admit("Read", "Write", "List")
    layout = pod(tmp_path, s3_secret(seaweedfs, key, secret_key), system)
    survive(
        layout,
        outside,
        take=lambda: admit(*actions),
        give=lambda: admit("Read", "Write", "List"),
        words=words,
        program=HASTY,
    )


def test_rights_of_a_service_account(gcs: Gcs, tmp_path: Path) -> None:
    """A service account of Google that is disabled for a while: its token is worth nothing any
    more when it is enabled again, and another is asked for."""
    system = new_system()

    def enable(is_enabled: bool) -> None:
        gcs.node.is_enabled = is_enabled

    survive(
        pod(tmp_path, gcs_secret(gcs, gcs.node_key), system),
        Bucket(gcs_settings(gcs), system),
        take=lambda: enable(False),
        give=lambda: enable(True),
        words="Google does not accept",
        program=HASTY,
    )


@pytest.fixture(scope="module")
def open_samba() -> Iterator[Samba]:
    """An SMB server whose share `team` heeds the modes of files: below a folder that all users may
    enter."""
    with tempfile.TemporaryDirectory(prefix="harmony-agent-samba-") as directory:
        Path(directory).chmod(0o711)
        with Samba(Path(directory)) as server:
            yield server


@pytest.mark.parametrize("folder", ["", "certs/deep"], ids=["all", "a folder"])
def test_rights_on_a_share(folder: str, open_samba: Samba, tmp_path: Path) -> None:
    """The account loses all rights on a folder of the share, which hides what can't be read: the
    listing of the folder above leaves it out without a word."""
    system = new_system()
    root = open_samba.team / system
    layout = pod(tmp_path, smb_secret(open_samba, "team", open_samba.password), system)
    survive(
        layout,
        Folder(root, open_samba.user),
        take=lambda: (root / folder).chmod(0o000),
        give=lambda: (root / folder).chmod(0o750),
        words="permission denied; give the account the right to change files",
        program=HASTY,
    )


def test_rights_on_a_volume(tmp_path: Path) -> None:
    """A folder of the mounted volume belongs to another user for a while."""
    layout = pod(tmp_path, None, new_system())
    root = layout.configuration
    folder = root / "certs/deep"

    def hand_to(user: int) -> None:
        folder.chmod(0o700)
        shutil.chown(folder, user)

    survive(
        layout,
        Folder(root),
        take=lambda: hand_to(65534),
        give=lambda: hand_to(0),
        words="Permission denied; the folder must be writable for user 0",
        program=CAPLESS,
    )


def test_rights_in_home(tmp_path: Path) -> None:
    """Harmony makes a folder its own for a while: its files are not gone, those that arrive for it
    wait, and what it deletes there meanwhile is deleted once that can be seen."""
    layout = pod(tmp_path, None, new_system())
    outside, folder = Folder(layout.configuration), layout.home / "certs/deep"
    for path, data in FILES.items():
        put_home(layout, path, data)
    with start(layout, CAPLESS) as agent:
        agent.wait_started(LIMIT)
        eventually(lambda: outside.files() == FILES, LIMIT, "the first push")
        folder.chmod(0o700)
        shutil.chown(folder, 65534)
        (folder / "1.cer").unlink()
        put_home(layout, "certs/deep/here.cer", b"made here")
        outside.put("certs/deep/there.cer", b"made there")
        eventually(lambda: told(agent, "user 0"), LIMIT, "the cause")
        there = {"certs/deep/there.cer": b"made there"}
        assert outside.files() == FILES | there
        shutil.chown(folder, 0)
        whole = FILES | there | {"certs/deep/here.cer": b"made here"}
        del whole["certs/deep/1.cer"]
        eventually(lambda: outside.files() == tree(layout.home) == whole, LIMIT, "both sides")
        eventually(lambda: "[!]" not in agent.probe("/readyz?verbose")[1], LIMIT, "recovery")
        assert "Traceback" not in agent.log
        assert agent.stop() == 0
