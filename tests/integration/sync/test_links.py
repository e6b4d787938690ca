"""Symbolic links in home and in the repository: never followed out, told, and nothing lost."""

import shutil
from pathlib import Path

import pytest

from harmony_agent.lifecycle.health import Health
from tests.integration.sync.conftest import MakeNodes
from tests.integration.sync.disk import eventually
from tests.integration.sync.node import Node, joined

LIMIT = 120.0  # seconds; generous, since conditions are waited for


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder outside of home, with a file that is nobody's business."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


def held(health: Health) -> dict[str, str]:
    """The configuration's held files with the reasons."""
    return dict(health.sections["configuration"]()["held"])


async def test_links_in_home_are_held_and_told_and_the_rest_travels(
    make_nodes: MakeNodes, outside: Path
) -> None:
    """To a file, to a folder, to nowhere, out of home, in a circle: each is named with its reason,
    none is followed, and another node's file of that name waits."""
    one, two = make_nodes("file", 2)
    one.write("certs/true.cer", b"true")
    targets = {
        "to-file.cer": one.home / "certs/true.cer",
        "to-folder": one.home / "hosts",
        "nowhere.cer": outside / "missing",
        "out.cer": outside / "secret",
        "out-folder": outside,
        "circle": one.home / "certs",
        "itself": one.home / "certs/itself",
    }
    for name, target in targets.items():
        (one.home / "certs" / name).symlink_to(target)
    links = {f"certs/{name}" for name in targets}
    health = Health()
    async with joined(one, health), joined(two):
        await eventually(lambda: held(health).keys() == links, LIMIT)
        assert all("symbolic link" in reason for reason in held(health).values())
        for name in ("certs/nowhere.cer", "certs/out.cer", "certs/out-folder/deep/new"):
            two.write(name, b"of the other node")
        two.write("certs/after.cer", b"after")
        await eventually((one.home / "certs/after.cer").exists, LIMIT)
        await eventually(lambda: "certs/out-folder/deep/new" in held(health), LIMIT)
        assert "lies below certs/out-folder" in held(health)["certs/out-folder/deep/new"]
        assert {path.name for path in outside.iterdir()} == {"secret"}
        assert (outside / "secret").read_bytes() == b"secret"
        (one.home / "certs/out.cer").unlink()
        await eventually((one.home / "certs/out.cer").exists, LIMIT)
        assert (one.home / "certs/out.cer").read_bytes() == b"of the other node"
        assert two.files().keys() == {
            "certs/true.cer",
            "certs/after.cer",
            "certs/nowhere.cer",
            "certs/out.cer",
            "certs/out-folder/deep/new",
        }


async def test_a_folder_that_was_moved_out_and_linked_is_neither_lost_nor_written(
    make_nodes: MakeNodes, outside: Path
) -> None:
    """`mv certs /elsewhere; ln -s` deletes nothing on the other node, and the other node's changes
    wait until the folder is back."""
    one, two = make_nodes("file", 2)
    one.write("certs/a.cer", b"1")
    one.write("hosts/A.xml", b"<a/>")
    health = Health()
    async with joined(one, health), joined(two):
        await eventually(lambda: two.files() == one.files(), LIMIT)
        shutil.move(one.home / "certs", outside / "certs")
        (one.home / "certs").symlink_to(outside / "certs")
        await eventually(lambda: "certs" in held(health), LIMIT)
        two.write("certs/a.cer", b"2")
        two.write("certs/new.cer", b"new")
        await eventually(lambda: {"certs/a.cer", "certs/new.cer"} <= held(health).keys(), LIMIT)
        assert (outside / "certs/a.cer").read_bytes() == b"1"
        assert two.files() == {
            "certs/a.cer": b"2",
            "certs/new.cer": b"new",
            "hosts/A.xml": b"<a/>",
        }
        (one.home / "certs").unlink()
        shutil.move(outside / "certs", one.home / "certs")
        await eventually(lambda: one.files() == two.files() and not held(health), LIMIT)
    assert (one.home / "certs/a.cer").read_bytes() == b"2"


async def test_a_link_in_the_repository_is_told_and_deletes_nothing(
    make_nodes: MakeNodes, outside: Path
) -> None:
    """A linked file looks missing and a linked folder is refused: homes keep what they have, the
    link's target stays as it is."""
    (one,) = make_nodes("file", 1)
    one.write("certs/deep/a.cer", b"1")
    health = Health()
    async with joined(one, health):
        store = _store(one)
        await eventually((store / "certs/deep/a.cer").exists, LIMIT)
        shutil.move(store / "certs", outside / "certs")
        (store / "certs").symlink_to(outside / "certs")
        one.write("certs/deep/a.cer", b"22")
        one.write("certs/deep/b.cer", b"new")
        await eventually(
            lambda: "symbolic link" in health.sections["configuration"]()["trouble"], LIMIT
        )
        assert {path.name for path in (outside / "certs").rglob("*.cer")} == {"a.cer"}
        assert (outside / "certs/deep/a.cer").read_bytes() == b"1"
        (store / "certs").unlink()
        shutil.move(outside / "certs", store / "certs")
        await eventually((store / "certs/deep/b.cer").exists, LIMIT)
    assert one.files() == {"certs/deep/a.cer": b"22", "certs/deep/b.cer": b"new"}


def _store(node: Node) -> Path:
    return node.folder.parent / "volume" / node.system
