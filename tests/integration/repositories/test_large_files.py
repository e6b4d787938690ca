"""Files too large for memory: in pieces, whole or not at all, on the real servers."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harmony_agent.core.errors import Absent, PreconditionFailed
from harmony_agent.repositories.interface import Repository

pytestmark = pytest.mark.server

_CHUNK = 1024 * 1024
_MOST_GROWTH = 40  # MiB


async def generated(chunks: int, *, seed: int = 0, fails_after: int = -1) -> AsyncIterator[bytes]:
    """So many MiB, each another; raises PreconditionFailed after `fails_after` of them."""
    for number in range(chunks):
        if number == fails_after:
            raise PreconditionFailed("the source has changed")
        yield (hashlib.sha256(f"{seed}-{number}".encode()).digest() * (_CHUNK // 32))


async def digest(chunks: AsyncIterator[bytes]) -> str:
    """SHA-256 of all pieces."""
    found = hashlib.sha256()
    async for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


def resident_mib() -> float:
    """The resident set of this process in MiB."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def test_a_large_file_goes_up_and_comes_down_in_flat_memory(repository: Repository) -> None:
    """100 MiB arrive as they were sent, and the process does not hold them."""
    await repository.create("warm", b"up")
    before = resident_mib()
    token = await repository.upload("certs/large", 100 * _CHUNK, generated(100), None)
    async with repository.download("certs/large") as found:
        assert (found.size, found.token) == (100 * _CHUNK, token)
        assert await digest(found.chunks) == await digest(generated(100))
    if repository.kind != "gcpbucket":  # its server's proxy lives in this process
        assert resident_mib() - before < _MOST_GROWTH
    entry = await repository.stat("certs/large")
    assert entry is not None
    assert (entry.size, entry.token) == (100 * _CHUNK, token)


async def test_an_upload_obeys_its_condition(repository: Repository) -> None:
    """It neither creates over a file nor replaces another version; the right version it does."""
    first = await repository.upload("large", 9 * _CHUNK, generated(9), None)
    with pytest.raises(PreconditionFailed):
        await repository.upload("large", 9 * _CHUNK, generated(9, seed=1), None)
    second = await repository.upload("large", 10 * _CHUNK, generated(10, seed=2), first)
    with pytest.raises(PreconditionFailed):
        await repository.upload("large", 9 * _CHUNK, generated(9, seed=3), first)
    async with repository.download("large") as found:
        assert found.token == second
        assert await digest(found.chunks) == await digest(generated(10, seed=2))


async def test_a_source_that_fails_leaves_the_old_version(repository: Repository) -> None:
    """The source's own error comes through, and nothing of the new content is to be seen."""
    with pytest.raises(PreconditionFailed, match="source has changed"):
        await repository.upload("large", 20 * _CHUNK, generated(20, fails_after=12), None)
    assert await repository.stat("large") is None
    token = await repository.upload("large", 9 * _CHUNK, generated(9), None)
    with pytest.raises(PreconditionFailed, match="source has changed"):
        await repository.upload("large", 20 * _CHUNK, generated(20, fails_after=12), token)
    entry = await repository.stat("large")
    assert entry is not None
    assert entry.token == token
    assert [found.path for found in await repository.list()] == ["large"]


async def test_downloading_what_is_not_there_says_absent(repository: Repository) -> None:
    """As reading does."""
    with pytest.raises(Absent):
        async with repository.download("nothing"):
            pass
