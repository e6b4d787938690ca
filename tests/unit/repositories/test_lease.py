"""The lease loop on virtual time, over a repository that fails on command."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from harmony_agent.core.errors import OutcomeUnknown, Unavailable
from harmony_agent.lifecycle.health import Condition, Health, Level
from harmony_agent.repositories.lease import Lease
from harmony_agent.repositories.lease_machine import Phase
from tests.unit.repositories.memory import MemoryRepository, Storage

pytestmark = pytest.mark.looptime


def lease_on(storage: Storage, identity: str = "me") -> tuple[Lease, MemoryRepository, Health]:
    """A lease whose clock is the loop's."""
    repository = MemoryRepository(storage)
    loop = asyncio.get_running_loop()
    health = Health(clock=loop.time)
    return Lease(repository, identity, f"pod of {identity}", clock=loop.time), repository, health


@contextlib.asynccontextmanager
async def running(lease: Lease, health: Health) -> AsyncIterator[None]:
    """The lease's root task, ended at the end of the block."""
    task = asyncio.create_task(lease.run(health))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def condition(health: Health) -> Condition:
    """The lease's line of /readyz."""
    return next(c for c in health.conditions() if c.name == "lease")


async def test_a_free_lease_is_ours_and_stays_ours() -> None:
    """Renewed each third of its time, for an hour, without a gap."""
    lease, _, health = lease_on(Storage())
    async with running(lease, health):
        await lease.owned()
        for _ in range(3600):
            assert lease.may_write()
            await asyncio.sleep(1)
    assert condition(health).level is Level.OK
    assert lease.epoch == 1
    assert lease.holder == "pod of me"


async def test_a_second_node_waits_and_takes_over_after_the_first_has_died() -> None:
    """Not ready while it waits, and told why; takes over once 60 s passed without a renewal."""
    storage = Storage()
    first, _, health_1 = lease_on(storage, "first")
    second, _, health_2 = lease_on(storage, "second")
    async with running(first, health_1):
        await first.owned()
        async with running(second, health_2):
            await asyncio.sleep(600)
            assert second.state is Phase.WAITING
            assert condition(health_2).level is Level.FAILED
            assert "pod of first" in condition(health_2).message
            assert "HARMONY_AGENT_HOST" in condition(health_2).message
    begun = asyncio.get_running_loop().time()
    async with running(second, health_2):
        await second.owned()
        assert 50 <= asyncio.get_running_loop().time() - begun <= 75
        assert not first.may_write()
        assert second.epoch == 2


async def test_a_lease_that_was_given_back_is_free_at_once() -> None:
    """A successor does not wait after a clean end."""
    storage = Storage()
    first, _, health_1 = lease_on(storage, "first")
    second, _, health_2 = lease_on(storage, "second")
    async with running(first, health_1):
        await first.owned()
    await first.release()
    assert not first.may_write()
    begun = asyncio.get_running_loop().time()
    async with running(second, health_2):
        await second.owned()
    assert asyncio.get_running_loop().time() - begun < 1


async def test_a_lease_is_given_back_although_its_renewal_was_given_up_on_the_way() -> None:
    """The agent ends while a renewal is under way, which is carried out all the same: the
    successor need not wait for the end of it."""
    storage = Storage()
    first, repository, health_1 = lease_on(storage, "first")
    second, _, health_2 = lease_on(storage, "second")
    async with running(first, health_1):
        await first.owned()
        original, sent = repository.replace, asyncio.Event()

        async def carried_out_without_an_answer(*arguments: object) -> object:
            await original(*arguments)  # type: ignore[arg-type]
            sent.set()
            return await asyncio.Event().wait()

        repository.replace = carried_out_without_an_answer  # type: ignore[method-assign, assignment]
        await sent.wait()
    repository.replace = original  # type: ignore[method-assign]
    assert await first.release() is not None
    begun = asyncio.get_running_loop().time()
    async with running(second, health_2):
        await second.owned()
    assert asyncio.get_running_loop().time() - begun < 1


async def test_a_lease_that_another_node_took_is_not_given_back() -> None:
    """A node that was frozen and ends before it looks again leaves the new owner's lease alone."""
    storage = Storage()
    first, _, health_1 = lease_on(storage, "first")
    second, _, health_2 = lease_on(storage, "second")
    async with running(first, health_1):
        await first.owned()
    async with running(second, health_2):
        await second.owned()
        assert await first.release() is None
        await asyncio.sleep(60)
        assert second.may_write()
        assert second.epoch == 2


async def test_writing_stops_while_the_repository_is_silent_and_goes_on_after() -> None:
    """25 s after the last renewal; in trouble but ready; ours again when the server is back."""
    lease, repository, health = lease_on(Storage())

    def silent(_: str) -> None:
        raise Unavailable("no route")

    async with running(lease, health):
        await lease.owned()
        repository.before = silent
        await asyncio.sleep(26)
        assert not lease.may_write()
        assert condition(health) == Condition("lease", Level.TROUBLE, "no route")
        await asyncio.sleep(3600)
        repository.before = lambda _: None
        await lease.owned()
        assert lease.may_write()
        assert condition(health).level is Level.OK
    assert health.stalled()[0].level is Level.OK


async def test_a_renewal_with_a_lost_answer_does_not_fence() -> None:
    """The write happened, its answer did not come: the nonce tells that it was ours."""
    lease, repository, health = lease_on(Storage())
    async with running(lease, health):
        await lease.owned()
        lost = 0

        def lose(operation: str) -> None:
            nonlocal lost
            if operation == "replace" and lost < 3:
                lost += 1
                raise OutcomeUnknown("answer lost")

        repository.after = lose
        await asyncio.sleep(100)
        assert lost == 3
        assert lease.may_write()
        assert lease.epoch == 1


async def test_a_takeover_fences_the_owner_and_a_hung_request_does_not_hang_the_loop() -> None:
    """A frozen node that comes back finds another owner, stops writing and says so."""
    storage = Storage()
    first, repository, health_1 = lease_on(storage, "first")
    second, _, health_2 = lease_on(storage, "second")
    async with running(first, health_1):
        await first.owned()
        gate = asyncio.Event()
        original = repository.replace

        async def hang(*arguments: object) -> object:
            await gate.wait()
            return await original(*arguments)  # type: ignore[arg-type]

        repository.replace = hang  # type: ignore[method-assign, assignment]
        repository.before = lambda operation: _raise_unavailable()
        async with running(second, health_2):
            await second.owned()
            assert not first.may_write()
            repository.replace = original  # type: ignore[method-assign]
            repository.before = lambda operation: None
            await asyncio.sleep(10)
            assert first.state is Phase.FENCED
            assert condition(health_1).level is Level.FAILED
            assert "taken over by pod of second" in condition(health_1).message
            assert second.may_write()


def _raise_unavailable() -> None:
    raise Unavailable("frozen")


async def test_another_owner_is_noticed_where_conditions_are_ignored() -> None:
    """Of two that took it in the same moment one is the owner a renewal later, and the other,
    which writes no more, does not give back what is not its own."""
    storage = Storage()
    loop = asyncio.get_running_loop()
    first, second = (
        Lease(
            MemoryRepository(storage, conditional=False),
            name,
            f"pod of {name}",
            trusting=lambda: False,
            clock=loop.time,
        )
        for name in ("first", "second")
    )
    async with running(first, Health(clock=loop.time)):
        await first.owned()
        storage.files.clear()  # as the second one still saw it
        async with running(second, Health(clock=loop.time)):
            await second.owned()
            await asyncio.sleep(20)
            assert not first.may_write()
            assert first.state is Phase.FENCED
            assert second.may_write()
            await first.release()
            await asyncio.sleep(20)
            assert second.may_write()


async def test_a_lease_is_known_by_what_lies_there() -> None:
    """By whatever name a repository leads there; one without a lease, or with another, is another
    place, also if the owner there bears our identity."""
    storage = Storage()
    lease, _, health = lease_on(storage)
    elsewhere, _, health_2 = lease_on(Storage())
    async with running(lease, health), running(elsewhere, health_2):
        await lease.owned()
        await elsewhere.owned()
        for _ in range(30):
            assert await lease.knows(MemoryRepository(storage))
            assert not await elsewhere.knows(MemoryRepository(storage))
            await asyncio.sleep(3)
        assert not await lease.knows(MemoryRepository())


async def test_a_lease_that_is_renewed_while_it_is_looked_at_is_known() -> None:
    """The answer tells of the version before, or of the one that is just being written."""
    storage = Storage()
    lease, repository, health = lease_on(storage)
    slow = MemoryRepository(storage)
    read, replace = slow.read, repository.replace

    async def slow_read(path: str) -> object:
        await asyncio.sleep(4)
        content = await read(path)
        await asyncio.sleep(4)
        return content

    async def slow_replace(*arguments: object) -> object:
        token = await replace(*arguments)  # type: ignore[arg-type]
        await asyncio.sleep(2)
        return token

    slow.read = slow_read  # type: ignore[method-assign, assignment]
    repository.replace = slow_replace  # type: ignore[method-assign, assignment]
    async with running(lease, health):
        await lease.owned()
        for _ in range(30):
            assert await lease.knows(slow)
            await asyncio.sleep(1.7)  # another moment of the renewals each time
