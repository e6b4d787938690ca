"""What the object stores share: lost answers, limits, retries, folder placeholders."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import PurePosixPath
from typing import ClassVar

import pytest

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Unavailable,
)
from harmony_agent.repositories.interface import Content, Entry, Token
from harmony_agent.repositories.names import check_path
from harmony_agent.repositories.objects import Beat, ObjectRepository


class Fake(ObjectRepository):
    """A store in memory; `fault` is called before or after each request and may raise."""

    kind: ClassVar[str] = "fake"

    def __init__(self, root: str = "root") -> None:
        super().__init__(PurePosixPath(root))
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.requests: list[str] = []
        self.before: Callable[[str], None] = lambda request: None
        self.after: Callable[[str], None] = lambda request: None
        self.chunks = 1
        self.pause = 0.0

    @property
    def location(self) -> str:
        """See Repository."""
        return "fake://store"

    def _translate(self, error: Exception, what: str) -> AgentError:
        if isinstance(error, KeyError):
            return Absent(what)
        if isinstance(error, ValueError):
            return PreconditionFailed(what)
        if isinstance(error, ConnectionResetError):
            return OutcomeUnknown(what)
        return Unavailable(what)

    def _check(self, path: str) -> None:
        check_path(path)

    def _begin(self, request: str) -> None:
        self.requests.append(request)
        self.before(request)

    async def _connect(self) -> None:
        self._begin("connect")

    async def close(self) -> None:
        """See Repository."""

    async def _head(self, key: str) -> Entry | None:
        self._begin("head")
        if key not in self.objects:
            return None
        version, data = self.objects[key]
        return Entry(key, len(data), Token(str(version)))

    async def _get(self, key: str, beat: Beat) -> Content:
        self._begin("get")
        version, data = self.objects[key]
        for _ in range(self.chunks):
            await asyncio.sleep(self.pause)
            beat()
        return Content(data, Token(str(version)))

    async def _put(self, key: str, data: bytes, token: Token | None) -> Token:
        self._begin("put")
        version = self.objects[key][0] if key in self.objects else None
        if (None if version is None else str(version)) != token:
            raise ValueError(key)
        self.objects[key] = ((version or 0) + 1, data)
        await asyncio.sleep(self.pause)
        self.after("put")
        return Token(str(self.objects[key][0]))

    async def _remove(self, key: str, token: Token) -> None:
        self._begin("remove")
        del self.objects[key]
        self.after("remove")

    async def _pages(self, prefix: str) -> AsyncIterator[list[Entry]]:
        self._begin("list")
        for key, (version, data) in sorted(self.objects.items()):
            if key.startswith(prefix):
                await asyncio.sleep(self.pause)
                yield [Entry(key, len(data), Token(str(version)))]


def reset(request: str) -> None:
    """The connection breaks."""
    raise ConnectionResetError(request)


async def test_a_create_whose_answer_was_lost_is_found_again() -> None:
    """The object is there with our bytes: success, with its token."""
    store = Fake()
    store.after = reset
    token = await store.create("a", b"mine")
    assert token == (await store.read("a")).token


async def test_a_create_that_never_arrived_stays_unknown() -> None:
    """The caller looks and decides; nothing is tried behind its back."""
    store = Fake()
    store.before = lambda request: reset(request) if request == "put" else None
    with pytest.raises(OutcomeUnknown):
        await store.create("a", b"mine")
    assert store.requests.count("put") == 1


async def test_a_lost_answer_is_not_taken_for_ours_if_others_wrote() -> None:
    """Other bytes stand there: the outcome of ours stays unknown."""
    store = Fake()

    def overwritten(request: str) -> None:
        store.objects["root/a"] = (9, b"theirs")
        reset(request)

    store.after = overwritten
    with pytest.raises(OutcomeUnknown):
        await store.create("a", b"mine")


async def test_a_clean_refusal_is_not_looked_up() -> None:
    """Somebody was first with the very same bytes: still not ours."""
    store = Fake()
    store.objects["root/a"] = (1, b"same")
    with pytest.raises(PreconditionFailed):
        await store.create("a", b"same")
    assert store.requests == ["put"]


async def test_a_delete_whose_answer_was_lost_counts_once_the_file_is_gone() -> None:
    """A look proves it."""
    store = Fake()
    token = await store.create("a", b"")
    store.after = reset
    await store.delete("a", token)
    assert store.objects == {}


async def test_reads_are_tried_again_once_after_a_broken_connection() -> None:
    """An idle pooled connection may have died; a second failure is told."""
    store = Fake()
    await store.create("a", b"x")
    broken = iter([True, False, True, True])
    store.before = lambda request: reset(request) if next(broken) else None
    assert (await store.read("a")).data == b"x"
    with pytest.raises(Unavailable):
        await store.read("a")


@pytest.mark.looptime
async def test_a_silent_request_ends_at_its_limit_and_is_not_repeated() -> None:
    """30 seconds without progress for a read."""
    store = Fake()
    await store.create("a", b"x")
    store.pause = 3600
    begun = asyncio.get_running_loop().time()
    with pytest.raises(OutcomeUnknown, match="no answer within 30 s"):
        await store.read("a")
    assert asyncio.get_running_loop().time() - begun == 30


@pytest.mark.looptime
async def test_progress_renews_the_limit_of_a_long_transfer() -> None:
    """Two minutes of steady chunks are no time-out; neither are many slow pages."""
    store = Fake()
    for number in range(10):
        await store.create(f"f{number}", b"x")
    store.chunks, store.pause = 12, 20
    assert (await store.read("f1")).data == b"x"
    assert len(await store.list()) == 10


async def test_placeholders_are_made_for_every_folder_once_and_never_listed() -> None:
    """From the root's own folders down; a second call sends nothing."""
    store = Fake("/top/System1")
    await store.make_folder("hosts/preconfigured")
    assert sorted(store.objects) == [
        "top/",
        "top/System1/",
        "top/System1/hosts/",
        "top/System1/hosts/preconfigured/",
    ]
    sent = len(store.requests)
    await store.make_folder("hosts")
    assert len(store.requests) == sent
    assert await store.list() == []


async def test_a_root_at_the_top_of_the_bucket_lists_everything() -> None:
    """No root path: keys are paths."""
    store = Fake("")
    await store.create("a/b", b"")
    assert [entry.path for entry in await store.list()] == ["a/b"]
    assert [entry.path for entry in await store.list("a")] == ["a/b"]
