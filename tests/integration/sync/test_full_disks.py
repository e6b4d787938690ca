"""Disks that run full beneath a running agent, there and here: nothing half, nothing lost, told
with what to do, and all that waited arrives by itself once there is room."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from fixtures.servers.samba import Samba
from harmony_agent.core.durable import is_temporary
from tests.integration.sync.disk import tree
from tests.integration.sync.outside import Folder
from tests.integration.sync.pod import new_system, pod, smb_secret, start
from tests.system.agent_process import AgentProcess, Layout, eventually

pytestmark = pytest.mark.server

LIMIT = 120.0  # seconds for what takes a few on a machine with nothing else to do
KIB = 1024

SmallDisk = Callable[[Path], AbstractContextManager[Path]]


@contextmanager
def filled(filler: Path) -> Iterator[None]:
    """No byte is free on the disk of `filler` while the block runs."""
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        yield
    finally:
        filler.unlink()


def certificates(size: int, *names: str) -> dict[str, bytes]:
    """Files of so many bytes, each with a content of its own."""
    return {f"certs/{name}.cer": name.encode() * (size // len(name)) for name in names}


def put_home(layout: Layout, files: dict[str, bytes]) -> None:
    """Harmony writes files in place."""
    for path, data in files.items():
        target = layout.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def trouble(agent: AgentProcess) -> str:
    """What hinders the configuration; the agent is ready all the same."""
    code, lines = agent.probe("/readyz?verbose")
    assert code == 200, lines
    return next((x for x in lines.splitlines() if x.startswith("[!]configuration")), "")


def is_well(agent: AgentProcess) -> bool:
    """Whether nothing at all is in trouble."""
    return "[!]" not in agent.probe("/readyz?verbose")[1]


def residue(folder: Path) -> list[Path]:
    """What is left of files that were never finished."""
    return [path for path in folder.rglob("*") if is_temporary(path.name)]


@pytest.fixture(params=["file", "smb"])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Layout, Path]:
    """A pod, and the folder in which its repository will lie."""
    system = new_system()
    if request.param == "file":
        layout = pod(tmp_path, None, system)
        return layout, layout.configuration
    samba: Samba = request.getfixturevalue("samba")
    secret = smb_secret(samba, samba.share, samba.password)
    return pod(tmp_path, secret, system), samba.files / system


def test_a_repository_that_runs_full(there: tuple[Layout, Path], small_disk: SmallDisk) -> None:
    """Its old versions stay whole, and so does home, whose changes wait. A file that never fits
    keeps no other from traveling and leaves nothing behind."""
    layout, root = there
    outside = Folder(root)
    before = certificates(20 * KIB, "one", "two")
    own = {f"{layout.host}/AS2/data/1.id": b"1@acme"}
    put_home(layout, {**before, "AS2/data/1.id": b"1@acme"})
    with small_disk(root) as filler, start(layout) as agent:
        filler.unlink()
        agent.wait_started(LIMIT)
        eventually(lambda: outside.files() == before | own, LIMIT, "the first push")
        after = certificates(40 * KIB, "one", "three") | certificates(20 * KIB, "two")
        with filled(filler):
            put_home(layout, {**after, "AS2/data/2.id": b"2@acme" * KIB})
            eventually(lambda: "make room there" in trouble(agent), LIMIT, "the cause")
            there_now = {p: data for p, data in outside.files().items() if p != filler.name}
            assert there_now == before | own
            assert tree(layout.home).items() >= after.items()
        own[f"{layout.host}/AS2/data/2.id"] = b"2@acme" * KIB
        eventually(lambda: outside.files() == after | own, LIMIT, "what waited")
        eventually(lambda: is_well(agent), LIMIT, "recovery")

        put_home(layout, {"certs/huge": b"h" * 9 * KIB * KIB})
        eventually(lambda: "make room there" in trouble(agent), LIMIT, "the huge file told")
        put_home(layout, {"certs/small": b"small"})
        after["certs/small"] = b"small"
        eventually(lambda: outside.files() == after | own, LIMIT, "the small one")
        (layout.home / "certs/huge").unlink()
        eventually(lambda: is_well(agent), LIMIT, "recovery")
        assert not residue(root)
        assert "Traceback" not in agent.log
        assert agent.stop() == 0


@pytest.mark.parametrize("which", ["home", "state"])
def test_a_local_disk_that_runs_full(which: str, small_disk: SmallDisk, tmp_path: Path) -> None:
    """Every file of home is whole at any time, and nothing of the repository is taken for gone."""
    layout = pod(tmp_path, None, new_system())
    outside = Folder(layout.configuration)
    before = certificates(20 * KIB, "one", "two")
    with small_disk(tmp_path / which) as filler, start(layout) as agent:
        filler.unlink()
        agent.wait_started(LIMIT)
        put_home(layout, before)
        eventually(lambda: outside.files() == before, LIMIT, "the first push")
        with filled(filler):
            wanted = before | {"certs/one.cer": b"renewed" * 9 * KIB, "certs/three.cer": b"three"}
            outside.put("certs/one.cer", wanted["certs/one.cer"])
            outside.put("certs/three.cer", wanted["certs/three.cer"])
            causes = {"home": "make room on that volume", "state": "is writable and not full"}
            eventually(lambda: causes[which] in trouble(agent), LIMIT, "the cause")
            here = {path: data for path, data in tree(layout.home).items() if path != filler.name}
            assert here.keys() >= before.keys()
            assert all(data in (before.get(path), wanted[path]) for path, data in here.items())
            assert outside.files() == wanted
        eventually(lambda: tree(layout.home) == wanted, LIMIT, "what waited")
        eventually(lambda: is_well(agent), LIMIT, "recovery")
        assert outside.files() == wanted
        assert not residue(layout.home)
        assert "Traceback" not in agent.log
        assert agent.stop() == 0
