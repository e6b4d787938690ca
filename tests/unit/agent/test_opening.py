"""A repository is opened for as long as it takes, and what was found out about it is shown."""

import asyncio

import pytest

from harmony_agent.agent.opening import open_repository
from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.lifecycle.health import Condition, Health, Level
from harmony_agent.repositories.layout import prepare_runtime
from tests.unit.repositories.memory import MemoryRepository

pytestmark = pytest.mark.looptime


def condition(health: Health) -> Condition:
    """The repository's line of /readyz."""
    return next(c for c in health.conditions() if c.name == "runtime-repository")


@pytest.mark.parametrize(
    ("conditional", "level", "words"),
    [(True, Level.OK, ""), (False, Level.TROUBLE, "ignores conditional writes: two nodes")],
)
async def test_a_store_that_ignores_conditions_is_shown_as_degraded(
    conditional: bool, level: Level, words: str
) -> None:
    """It is used all the same, and says why it is no good; one that honors them says nothing."""
    health = Health(clock=asyncio.get_running_loop().time)
    store = MemoryRepository(conditional=conditional)
    handle = await open_repository("runtime", lambda: store, prepare_runtime, health)
    assert condition(health).level is level
    assert words in condition(health).message
    await handle.create("a", b"x")


async def test_what_keeps_it_from_being_opened_is_told_until_it_is_gone() -> None:
    """Each attempt has a new connector, since the secret may be another by then; those that fail
    are closed."""
    health = Health(clock=asyncio.get_running_loop().time)
    made: list[MemoryRepository] = []
    errors = [Unavailable("the server is away"), Refused("wrong password")]

    def connector() -> MemoryRepository:
        store = MemoryRepository()

        def fail(operation: str) -> None:
            if operation == "open" and len(made) <= len(errors):
                raise errors[len(made) - 1]

        store.before = fail
        made.append(store)
        return store

    opening = asyncio.create_task(open_repository("runtime", connector, prepare_runtime, health))
    told = set()
    while not opening.done():
        await asyncio.sleep(0.05)
        told.add(condition(health).message)
    assert {"the server is away", "wrong password"} <= told
    assert condition(health).level is Level.OK
    assert len(made) == 3
    assert [store.operations[-1] for store in made[:2]] == ["close", "close"]
    assert "close" not in made[2].operations
    await opening
