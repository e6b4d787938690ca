"""Many files at once: the repository is asked by few at a time, and by none in vain."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from harmony_agent.core.errors import Refused
from tests.unit.sync.bench import Bench
from tests.unit.sync.memory_repository import MemoryRepository

pytestmark = pytest.mark.looptime

Node = Callable[[str], Bench]

FILES = 100


class Narrow(MemoryRepository):
    """Does five operations at once, a second each; remembers how many were under way."""

    at_once = 5

    def __init__(self) -> None:
        super().__init__()
        self.delay = 1.0
        self.under_way = 0
        self.most = 0

    async def _enter(self, operation: str, path: str) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await super()._enter(operation, path)
        finally:
            self.under_way -= 1


@pytest.fixture
def repository() -> Narrow:
    """A narrow one."""
    return Narrow()


async def test_no_more_are_under_way_than_the_repository_does_well(
    node: Node, repository: Narrow
) -> None:
    """First push and first pull of many files use all its places and never more."""
    first, second = node("first"), node("second")
    for number in range(FILES):
        first.write(f"certs/{number}", str(number))
    for bench in (first, second):
        async with bench.configuration() as sync:
            repository.most = 0
            await sync.take_on()
            assert repository.most == repository.at_once
    assert second.owned() == first.owned()


async def test_who_waits_for_a_place_does_not_write_once_the_lease_is_lost(
    node: Node, repository: Narrow
) -> None:
    """Between the plan and a file's turn the folder may have got another owner."""
    pod = node("pod")
    for number in range(FILES):
        pod.write(f"AS2/mdn/{number}", str(number))
    written: list[str] = []

    def lose(operation: str, path: str) -> None:
        if operation == "create":
            written.append(path)
            pod.may_write = False

    repository.before = lose
    async with pod.runtime() as mirror:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await mirror.take_on()
    assert 0 < len(written) <= repository.at_once


async def test_a_repository_that_refuses_is_not_asked_for_every_file(
    node: Node, repository: Narrow
) -> None:
    """After some failures without a success the rest is not tried, however many wait."""
    first = node("first")
    for number in range(FILES):
        first.write(f"certs/{number}", str(number))

    def refuse(operation: str, path: str) -> None:
        if operation == "create":
            raise Refused("read-only")

    repository.before = refuse
    async with first.configuration() as sync:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await sync.take_on()
    operations = [operation for operation, _ in repository.calls]
    attempt = operations[: operations.index("list", operations.index("create"))]
    assert 0 < attempt.count("create") <= 16 + repository.at_once


async def test_looks_at_what_others_were_faster_with_take_turns_as_well(
    node: Node, repository: Narrow
) -> None:
    """Two nodes that found a system together refuse each other hundreds of files in one moment."""
    first = node("first")
    for number in range(FILES):
        first.write(f"certs/{number}", str(number))

    def be_faster(operation: str, path: str) -> None:
        if operation == "create" and path == "certs/0":
            for number in range(FILES):
                repository.put(f"certs/{number}", b"theirs %d" % number)

    repository.before = be_faster
    async with first.configuration() as sync:
        repository.most = 0
        await sync.take_on()
    assert repository.most == repository.at_once
    assert ("stat", "certs/0") in repository.calls
