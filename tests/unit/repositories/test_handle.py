"""The handle: counts, fails fast while the backend is down, changes connectors."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from harmony_agent.core.errors import Absent, PreconditionFailed, Refused, Unavailable
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.interface import Content
from tests.unit.repositories.memory import MemoryRepository


def down(_: str) -> None:
    """A backend that does not answer."""
    raise Unavailable("down")


def counted(name: str, operation: str, result: str) -> float:
    """How often this was counted."""
    labels = {"repository": name, "operation": operation, "result": result}
    return REGISTRY.get_sample_value("harmony_agent_repository_operations_total", labels) or 0.0


async def test_operations_are_counted_by_result() -> None:
    """A success and an absent file each under its own word."""
    handle = Handle("counting", MemoryRepository())
    await handle.create("a", b"1")
    with pytest.raises(Absent):
        await handle.read("b")
    assert counted("counting", "create", "ok") == 1
    assert counted("counting", "read", "absent") == 1


async def test_of_many_files_at_once_each_is_counted() -> None:
    """By its own result: those that were made, and the one whose name was taken."""
    handle = Handle("many", MemoryRepository())
    await handle.create("b", b"theirs")
    made = await handle.create_all([(name, b"ours") for name in "abc"])
    assert [type(each) for each in made] == [str, PreconditionFailed, str]
    found = await handle.read_all(["a", "b", "d"])
    assert [each.data for each in found if isinstance(each, Content)] == [b"ours", b"theirs"]
    assert isinstance(found[2], Absent)
    b = await handle.read("b")
    replaced = await handle.replace_all([("b", b"new", b.token), ("b", b"late", b.token)])
    assert [type(each) for each in replaced] == [str, PreconditionFailed]
    assert counted("many", "create_all", "ok") == 2
    assert counted("many", "replace_all", "ok") == 1
    assert counted("many", "replace_all", "precondition") == 1
    assert counted("many", "create_all", "precondition") == 1
    assert counted("many", "read_all", "absent") == 1


@pytest.mark.looptime
async def test_many_files_that_fail_at_once_are_one_failure_of_the_backend() -> None:
    """It is not taken for down before as many calls failed as with single files."""
    backend = MemoryRepository()
    handle = Handle("failing", backend, clock=asyncio.get_running_loop().time)
    backend.before = down
    for _ in range(4):
        assert all(isinstance(e, Unavailable) for e in await handle.create_all([("a", b"")] * 20))
    assert len(backend.operations) == 80
    await handle.create_all([("a", b"")])
    with pytest.raises(Unavailable, match="it is asked again in"):
        await handle.create_all([("a", b"")])


@pytest.mark.looptime
async def test_a_backend_that_is_down_is_asked_now_and_then_only() -> None:
    """After five failures in a row most calls fail at once; when it is back, work goes on."""
    loop = asyncio.get_running_loop()
    backend = MemoryRepository()
    handle = Handle("breaker", backend, clock=loop.time)
    backend.before = down
    begun = loop.time()
    while loop.time() - begun < 600:
        with pytest.raises(Unavailable):
            await handle.stat("a")
        await asyncio.sleep(0.1)
    assert 600 / 10 <= len(backend.operations) < 600
    for _ in range(2):  # the first of them may be a probe; the second surely is none
        with pytest.raises(Unavailable) as caught:
            await handle.stat("a")
    backend.before = lambda _: None
    assert caught.value.retry_after is not None
    assert caught.value.retry_after <= 10
    await asyncio.sleep(caught.value.retry_after)
    await handle.stat("a")


@pytest.mark.looptime
async def test_only_one_call_probes_a_backend_that_is_down() -> None:
    """When the pause is over, a crowd of callers sends a single request."""
    loop = asyncio.get_running_loop()
    backend = MemoryRepository()
    handle = Handle("probe", backend, clock=loop.time)
    backend.before = down
    for _ in range(5):
        with pytest.raises(Unavailable):
            await handle.stat("a")
    await asyncio.sleep(15)
    stat = backend.stat

    async def slow_stat(path: str) -> object:
        await asyncio.sleep(5)
        return await stat(path)

    backend.stat = slow_stat  # type: ignore[method-assign, assignment]
    asked = len(backend.operations)
    await asyncio.gather(*(handle.stat("a") for _ in range(50)), return_exceptions=True)
    assert len(backend.operations) == asked + 1


async def test_refusals_do_not_open_the_circuit() -> None:
    """A server that answers, if only with no, is not down."""
    backend = MemoryRepository()
    handle = Handle("refusing", backend)

    def refuse(_: str) -> None:
        raise Refused("no")

    backend.before = refuse
    for _ in range(20):
        with pytest.raises(Refused):
            await handle.stat("a")
    assert len(backend.operations) == 20


@pytest.mark.looptime
async def test_an_exchanged_connector_is_idle_after_its_last_operation() -> None:
    """New calls use the new connector at once; the old one finishes what it has begun."""
    old, new = MemoryRepository(), MemoryRepository()
    gate = asyncio.Event()
    read = old.read

    async def slow_read(path: str) -> object:
        await gate.wait()
        return await read(path)

    old.read = slow_read  # type: ignore[method-assign, assignment]
    await old.create("a", b"old")
    await new.create("a", b"new")
    handle = Handle("rotating", old)
    before = asyncio.create_task(handle.read("a"))
    await asyncio.sleep(0)
    retired = handle.exchange(new, conditional_writes=False)
    waiting = asyncio.create_task(retired.idle())
    await asyncio.sleep(1)
    assert (await handle.read("a")).data == b"new"
    assert not handle.conditional_writes
    assert not waiting.done()
    gate.set()
    assert (await before).data == b"old"
    await waiting
    await retired.close()
    assert "close" in old.operations
    assert "close" not in new.operations


async def test_what_was_exchanged_can_still_be_asked() -> None:
    """Until it is closed: with its own circuit and what is known of its conditions."""
    old, new = MemoryRepository(), MemoryRepository()
    await old.create("a", b"old")
    handle = Handle("left", old)
    retired = handle.exchange(new, conditional_writes=False)
    assert (await retired.read("a")).data == b"old"
    assert retired.conditional_writes


async def _one(piece: bytes) -> AsyncIterator[bytes]:
    """A source of one piece."""
    yield piece


async def test_transfers_in_pieces_pass_through_and_are_counted() -> None:
    """Up and down, each under its own word."""
    handle = Handle("pieces", MemoryRepository())
    token = await handle.upload("a", 3, _one(b"abc"), None)
    async with handle.download("a") as found:
        assert (found.size, found.token) == (3, token)
        assert [piece async for piece in found.chunks] == [b"abc"]
    with pytest.raises(Absent):
        async with handle.download("b"):
            pass
    assert counted("pieces", "upload", "ok") == 1
    assert counted("pieces", "download", "ok") == 1
    assert counted("pieces", "download", "absent") == 1


async def test_an_open_download_keeps_its_connector() -> None:
    """An exchanged connector is idle only after the last piece was read."""
    old, new = MemoryRepository(), MemoryRepository()
    await old.create("a", b"abc")
    handle = Handle("rotated while reading", old)
    async with handle.download("a") as found:
        waiting = asyncio.create_task(handle.exchange(new, conditional_writes=True).idle())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        assert [piece async for piece in found.chunks] == [b"abc"]
    await waiting


@pytest.mark.looptime
async def test_a_wait_for_changes_ends_at_its_limit() -> None:
    """Where the backend has no news to give, it is a plain wait, and no operation."""
    handle = Handle("waiting", MemoryRepository())
    begun = asyncio.get_running_loop().time()
    await handle.await_change("hosts", 5)
    assert asyncio.get_running_loop().time() - begun == 5
