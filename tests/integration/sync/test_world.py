"""The judge of the convergence test: what it takes for lost, and what not."""

import random
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from harmony_agent.settings.model import FileRepository
from tests.integration.sync.node import Node
from tests.integration.sync.world import World

PATH = "hosts/c.xml"


class OnePath(random.Random):
    """Chooses the same file whatever there is to choose from."""

    def choice(self, _: object) -> str:  # type: ignore[override]  # chooses paths only
        """PATH."""
        return PATH


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One node without an agent, in whose home one file lies."""
    settings = FileRepository(root=PurePosixPath(tmp_path / "store"))
    world = World([Node(tmp_path / "node-1", settings, "System1")], OnePath(1))
    world._create(world.nodes[0])
    return world


ACTS: list[Callable[[World, Node], None]] = [World._edit, World._save_anew, World._create]


@pytest.mark.parametrize("act", ACTS)
def test_what_is_overwritten_by_an_agent_is_lost_unless_it_is_kept(
    world: World, act: Callable[[World, Node], None]
) -> None:
    """Harmony's own versions follow each other in order; the last one must be somewhere."""
    (node,) = world.nodes
    act(world, node)
    written = (node.home / PATH).read_bytes()
    (node.home / PATH).write_bytes(b"an agent's")
    (told,) = [line for line in world.lost({b"an agent's"}) if repr(written) in line]
    assert PATH in told
    assert world.lost({written}) == []


@pytest.mark.parametrize("act", [World._edit, World._save_anew, World._delete])
def test_what_an_agent_put_there_at_the_last_moment_is_what_harmony_replaces(
    world: World, act: Callable[[World, Node], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the version before that, nothing is said: whoever replaced it has to account for it."""
    (node,) = world.nodes
    target = node.home / PATH
    before = target.read_bytes()
    world._written[b"another node's"] = "another node"
    is_file = Path.is_file

    def is_file_and_replaced(path: Path) -> bool:
        found = is_file(path)
        if path == target:
            path.unlink()
            path.write_bytes(b"another node's")
        return found

    monkeypatch.setattr(Path, "is_file", is_file_and_replaced)
    act(world, node)
    monkeypatch.undo()
    (told,) = world.lost({target.read_bytes()} if target.exists() else set())
    assert repr(before) in told
