"""What the object stores share: lost answers, limits, retries, folder placeholders."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import PurePosixPath
from typing import ClassVar

import pytest

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    Unavailable,
    Unsupported,
)
from harmony_agent.repositories.http.connection import Beat, Stream
from harmony_agent.repositories.interface import Content, Download, Entry, Token
from harmony_agent.repositories.names import check_path
from harmony_agent.repositories.objects.repository import ObjectRepository


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

    async def _open(self, key: str, resources: AsyncExitStack) -> Download:
        self._begin("open")
        version, data = self.objects[key]
        resources.callback(self.requests.append, "closed")
        return Download(len(data), Token(str(version)), self._letters(data))

    async def _letters(self, data: bytes) -> AsyncIterator[bytes]:
        for number in range(len(data)):
            await asyncio.sleep(self.pause)
            self._begin("piece")
            yield data[number : number + 1]

    async def _put(self, key: str, body: bytes | Stream, token: Token | None, beat: Beat) -> Token:
        self._begin("put")
        if isinstance(body, Stream):
            pieces = []
            async for piece in body.chunks:
                pieces.append(piece)
                beat()
            data = b"".join(pieces)
        else:
            data = body
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


async def pieces(*parts: bytes, fails: Exception | None = None) -> AsyncIterator[bytes]:
    """These parts, then what `fails`."""
    for part in parts:
        yield part
    if fails:
        raise fails


async def test_what_went_up_in_pieces_comes_down_in_pieces() -> None:
    """Size, token and content agree, and the connection is given back."""
    store = Fake()
    token = await store.upload("a", 5, pieces(b"ab", b"cde"), None)
    async with store.download("a") as found:
        assert (found.size, found.token) == (5, token)
        assert b"".join([piece async for piece in found.chunks]) == b"abcde"
    assert store.requests[-1] == "closed"


@pytest.mark.parametrize("reason", [ValueError("disk"), PreconditionFailed("source changed")])
async def test_what_the_source_raises_comes_through_as_it_is(reason: Exception) -> None:
    """It is not the server's error, whatever its type, and nothing is written."""
    store = Fake()
    with pytest.raises(type(reason)) as caught:
        await store.upload("a", 4, pieces(b"ab", fails=reason), None)
    assert caught.value is reason
    assert store.objects == {}


@pytest.mark.parametrize("parts", [(b"ab",), (b"ab", b"cde", b"f")], ids=["shorter", "longer"])
async def test_a_source_of_another_size_is_not_written(parts: tuple[bytes, ...]) -> None:
    """The file was changed under our hands: later perhaps."""
    store = Fake()
    with pytest.raises(Unavailable, match="changed its size"):
        await store.upload("a", 5, pieces(*parts), None)
    assert store.objects == {}


async def test_a_file_too_large_for_one_request_is_told_before_anything_is_sent() -> None:
    """Azure takes 5,000 MiB."""
    store = Fake()
    with pytest.raises(Unsupported, match="5000 MiB"):
        await store.upload("a", 5001 * 1024**2, pieces(), None)
    assert store.requests == []


async def test_the_readers_own_error_is_not_taken_for_the_servers() -> None:
    """What is raised while a download is open comes through, and the connection is given back."""
    store = Fake()
    await store.create("a", b"abc")
    with pytest.raises(KeyError):
        async with store.download("a"):
            raise KeyError("mine")
    assert store.requests[-1] == "closed"


async def test_a_download_that_breaks_off_is_no_short_file() -> None:
    """A broken connection in the middle raises."""
    store = Fake()
    await store.create("a", b"abc")
    broken = iter([False, False, True])
    store.before = lambda request: reset(request) if request == "piece" and next(broken) else None
    async with store.download("a") as found:
        with pytest.raises(OutcomeUnknown):
            [piece async for piece in found.chunks]


@pytest.mark.looptime
async def test_a_slow_reader_does_not_use_up_the_servers_time() -> None:
    """The limit runs only while the server is waited for."""
    store = Fake()
    await store.create("a", b"abc")
    store.pause = 20
    async with store.download("a") as found:
        async for _ in found.chunks:
            await asyncio.sleep(100)
    store.pause = 31
    with pytest.raises(OutcomeUnknown, match="no answer within 30 s"):
        async with store.download("a") as found:
            await anext(found.chunks)


@pytest.mark.looptime
async def test_progress_renews_the_limit_of_an_upload() -> None:
    """Each piece that is sent counts; two minutes are no time-out."""

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(6):
            await asyncio.sleep(20)
            yield b"x"

    await Fake().upload("a", 6, slow(), None)


async def test_a_server_without_placeholders_is_told_once_and_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Folders are but prefixes there; files are written as ever."""
    store = Fake()

    def refuse(request: str) -> None:
        if request == "put":
            raise Refused("the server answered 400 (InvalidObjectName)")

    store.before = refuse
    with caplog.at_level(logging.WARNING):
        await store.make_folder("hosts/deep")
        await store.make_folder("conf")
    assert [record.message for record in caplog.records] == [
        "the server takes no folder placeholders; going on without"
    ]
    store.before = lambda request: None
    await store.create("conf/a", b"x")
