"""Who does what only one node may do."""

import asyncio

import pytest

from harmony_agent.core.errors import Unavailable
from harmony_agent.license.claims import KEPT, TAKEOVER, Claims, Taken
from tests.unit.license.support import MemoryRepository

PATH = ".harmony-agent/mails/outage-1/over"

pytestmark = pytest.mark.looptime


async def test_one_of_many_takes_it_and_its_outcome_is_known_to_all() -> None:
    """Exclusive create, then completion."""
    repository = MemoryRepository()
    nodes = [Claims(f"node-{i}", lambda: repository) for i in range(5)]
    taken = await asyncio.gather(*(node.take(PATH) for node in nodes))
    assert sorted(t.value for t, _ in taken) == ["mine", *["others"] * 4]
    winner = nodes[[t for t, _ in taken].index(Taken.MINE)]
    await winner.complete(PATH, "sent")
    for node in nodes:
        done, claim = await node.take(PATH)
        assert done is Taken.DONE
        assert claim.outcome == "sent"


async def test_a_claim_that_is_not_completed_is_taken_over_by_exactly_one() -> None:
    """Its owner died: after 15 minutes without a change another node goes on."""
    repository = MemoryRepository()
    await Claims("dead", lambda: repository).take(PATH)
    nodes = [Claims(f"node-{i}", lambda: repository) for i in range(3)]
    for node in nodes:
        assert (await node.take(PATH))[0] is Taken.OTHERS
    await asyncio.sleep(TAKEOVER - 1)
    assert (await nodes[0].take(PATH))[0] is Taken.OTHERS
    await asyncio.sleep(1)
    assert (await nodes[0].take(PATH))[0] is Taken.MINE
    assert (await nodes[1].take(PATH))[0] is Taken.OTHERS


async def test_an_own_claim_from_before_a_restart_is_ones_own() -> None:
    """The process that took it is gone, or the answer to its create was lost."""
    repository = MemoryRepository()
    await Claims("node-0", lambda: repository).take(PATH)
    assert (await Claims("node-0", lambda: repository).take(PATH))[0] is Taken.MINE


@pytest.mark.parametrize("data", [b"", b"[]", b"nonsense", b'{"owner": 5, "outcome": null}'])
async def test_a_claim_nobody_can_read_is_taken_over_in_time(data: bytes) -> None:
    """Garbage must not keep the administrator from being told."""
    repository = MemoryRepository()
    await repository.create(PATH, data)
    claims = Claims("node-0", lambda: repository)
    assert (await claims.take(PATH))[0] is Taken.OTHERS
    await asyncio.sleep(TAKEOVER)
    assert (await claims.take(PATH))[0] is Taken.MINE


async def test_without_an_open_repository_nothing_can_be_claimed() -> None:
    """The caller decides what to do then."""
    with pytest.raises(Unavailable):
        await Claims("node-0", lambda: None).take(PATH)


async def test_completing_what_was_done_without_a_claim_leaves_one_behind() -> None:
    """A mail that went out while the repository was away is not sent again by others."""
    repository = MemoryRepository()
    await Claims("node-0", lambda: repository).complete(PATH, "sent")
    assert (await Claims("node-1", lambda: repository).take(PATH))[0] is Taken.DONE


async def test_old_claims_are_deleted_unless_their_outage_still_runs() -> None:
    """By age: mails and tickets of a bygone outage; one that runs keeps its own however old, else
    it would be mailed again. What nobody can read counts as old. Nothing else is touched."""
    repository, clock = MemoryRepository(), [1e9]
    claims = Claims("node-0", lambda: repository, lambda: clock[0])
    folders = (".harmony-agent/mails", ".harmony-agent/tickets")
    for path in ("mails/old/over", "tickets/old", "mails/runs/over", "tickets/runs"):
        await claims.take(f".harmony-agent/{path}")
    await claims.complete(".harmony-agent/tickets/old", "IT-1")
    repository.files[".harmony-agent/mails/broken/over"] = b"nonsense"
    repository.files[".harmony-agent/license.json"] = b"{}"
    clock[0] += KEPT + 1
    await claims.take(".harmony-agent/mails/new/over")
    assert await claims.purge(folders, {"runs"}) == 3
    assert sorted(repository.files) == [
        ".harmony-agent/license.json",
        ".harmony-agent/mails/new/over",
        ".harmony-agent/mails/runs/over",
        ".harmony-agent/tickets/runs",
    ]


async def test_a_claim_of_an_earlier_version_without_a_time_is_still_one() -> None:
    """It is done, and not done again."""
    repository = MemoryRepository()
    repository.files[PATH] = b'{"owner": "node-9", "outcome": "sent"}'
    done, claim = await Claims("node-0", lambda: repository).take(PATH)
    assert done is Taken.DONE
    assert claim.owner == "node-9"
