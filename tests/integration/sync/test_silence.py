"""The server takes what it is sent and answers nothing: nothing hangs, and it heals by itself."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from harmony_agent.lifecycle.health import Health, Level
from tests.integration.sync.by_wire import (
    FILES,
    LARGE,
    LEFT_OPEN,
    LIMIT,
    Pods,
    arrival,
    fill,
    filled,
    nothing_spoiled,
)
from tests.integration.sync.disk import eventually
from tests.integration.sync.node import beside_harmony

pytestmark = [pytest.mark.server, LEFT_OPEN]

PATIENCE = 1.0  # seconds for an operation
TOLD_WITHIN = 25.0  # seconds; less than an operation may take by its usual limit


@contextlib.contextmanager
def impatience() -> Iterator[None]:
    """Operations are given up soon."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("limits", "folders", "objects.repository"):
            for name in ("CONTROL_LIMIT", "DATA_LIMIT"):
                patch.setattr(f"harmony_agent.repositories.{module}.{name}", PATIENCE)
        yield


def level(health: Health, name: str) -> Level | None:
    """How a part fares by /readyz."""
    return next((c.level for c in health.conditions() if c.name == name), None)


@pytest.mark.parametrize(
    ("kind", "way"), [("s3", "heal"), ("s3", "replace"), ("smb", "heal"), ("smb", "replace")]
)
async def test_silence_in_the_middle_of_a_push_is_told_and_ends(pods: Pods, way: str) -> None:
    """Both sides tell of trouble within the limit of an operation and stay ready; as soon as the
    server answers, everything arrives, once and whole: what hung arrives late, or never."""
    node, health = pods.node("first"), Health(startup_steps=())
    async with beside_harmony(node, health):
        with impatience():
            pods.wire.fall_silent(after=LARGE // 2)
            fill(node)
            await eventually(lambda: pods.wire.is_silent, LIMIT)
            node.write("AS2/mdn/0.mdn", FILES["AS2/mdn/0.mdn"])
            await eventually(lambda: level(health, "configuration") is Level.TROUBLE, TOLD_WITHIN)
            await eventually(lambda: level(health, "runtime") is Level.TROUBLE, TOLD_WITHIN)
            assert Level.FAILED not in [c.level for c in health.conditions()]
        getattr(pods.wire, way)()
        async with pods.straight() as repository:
            await arrival(repository)
        for name in ("configuration", "runtime"):
            await eventually(lambda: level(health, name) is Level.OK, LIMIT)  # noqa: B023
    await nothing_spoiled(pods, [node])


@pytest.mark.parametrize("kind", ["smb"])
async def test_a_pod_that_starts_in_silence_tells_and_goes_on(pods: Pods) -> None:
    """Nothing answers from the first moment on: that is told, nothing hangs, and afterwards the
    first pull is made."""
    await filled(pods)
    node, health = pods.node("again"), Health()
    pods.wire.fall_silent()

    async def start() -> None:
        async with beside_harmony(node, health):
            assert node.files() == FILES

    condition = "configuration-repository"
    with impatience():
        starting = asyncio.create_task(start())
        await eventually(lambda: "can't open" in told(health, condition), TOLD_WITHIN)
    pods.wire.replace()
    async with asyncio.timeout(LIMIT):
        await starting
    assert level(health, condition) is Level.OK
    await nothing_spoiled(pods, [node])


def told(health: Health, name: str) -> str:
    """The sentence about a part by /readyz."""
    return next((c.message for c in health.conditions() if c.name == name), "")
