"""The proof names what does not work, and finds stores that ignore conditions."""

import pytest

from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.repositories.proof import prove
from tests.unit.repositories.memory import MemoryRepository


async def test_a_good_repository_passes_and_is_left_clean() -> None:
    """Conditions hold, and the probe is gone."""
    repository = MemoryRepository()
    assert (await prove(repository)).conditional_writes
    assert repository.storage.files == {}


async def test_a_store_that_ignores_conditions_is_found() -> None:
    """It works all the same, and nothing is left behind."""
    repository = MemoryRepository(conditional=False)
    assert not (await prove(repository)).conditional_writes
    assert repository.storage.files == {}


@pytest.mark.parametrize(
    ("operation", "named"),
    [("create", "write"), ("read", "read"), ("list", "list"), ("delete", "delete")],
)
async def test_the_operation_that_fails_is_named(operation: str, named: str) -> None:
    """One broken operation: its name is in the message, the error keeps its type."""
    repository = MemoryRepository()

    def fail(present: str) -> None:
        if present == operation:
            raise Refused("not allowed")

    repository.before = fail
    with pytest.raises(Refused, match=f"can't {named} a probe file: not allowed"):
        await prove(repository)


async def test_a_failed_proof_cleans_up_as_far_as_it_can() -> None:
    """A listing that fails leaves no probe behind."""
    repository = MemoryRepository()

    def fail(operation: str) -> None:
        if operation == "list":
            raise Unavailable("no list")

    repository.before = fail
    with pytest.raises(Unavailable):
        await prove(repository)
    assert repository.storage.files == {}
