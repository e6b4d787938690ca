"""One record for all nodes, whoever writes first and whatever the repository answers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from harmony_agent.core.threads import Workers
from harmony_agent.license.keeper import RecordKeeper
from harmony_agent.license.ledger import Ledger
from harmony_agent.license.machine import History, Standing, Step
from harmony_agent.license.record import EMPTY, Outage, OutageKind, Record, merge
from tests.unit.license.histories import FaultyRepository, license_identity
from tests.unit.license.support import START

pytestmark = pytest.mark.looptime


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[RecordKeeper]:
    """Of the license that all nodes have."""
    workers = Workers("test", 1)
    yield RecordKeeper(license_identity(0), tmp_path, workers)
    workers.close()


def opened_by(node: str, start: float) -> Record:
    """A record with the outage that this node opens."""
    return Record(unreachable=Outage(node, OutageKind.UNREACHABLE, start, node, "away"))


async def settle(keeper: RecordKeeper, repository: FaultyRepository, number: int) -> Ledger:
    """One node joins the running outage, or opens its own."""
    ledger = Ledger(keeper, lambda: repository, recalled=True)
    own = opened_by(f"node-{number}", START - number)

    def decide(record: Record, _: History) -> Step:
        return Standing(merge(record, own)), []

    await ledger.settle(EMPTY, START, decide)
    return ledger


@pytest.mark.parametrize("mode", ["up", "deaf"])
async def test_of_racing_nodes_the_earliest_start_stands_in_the_repository(
    keeper: RecordKeeper, mode: str
) -> None:
    """Compare-and-swap, and again: also where each write arrives and its answer is lost."""
    repository = FaultyRepository()
    repository.mode = mode
    ledgers = await asyncio.gather(*(settle(keeper, repository, n) for n in range(4)))
    found = (await keeper.fetch(repository, EMPTY, START)).record.unreachable
    assert found is not None
    assert found.id == "node-3"
    assert ledgers[3].is_shared("node-3")


async def test_what_can_not_be_written_is_not_taken_for_shared(keeper: RecordKeeper) -> None:
    """No ticket without an outage id in the repository; written with the next attempt."""
    repository = FaultyRepository()
    repository.mode = "read-only"
    assert not (await settle(keeper, repository, 1)).is_shared("node-1")
    repository.mode = "down"
    assert not (await settle(keeper, repository, 1)).is_shared("node-1")
    repository.mode = "up"
    assert (await settle(keeper, repository, 1)).is_shared("node-1")
