"""Object stores that go wrong in the middle: what is told, and what stands afterwards."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fixtures.connections import Handler
from fixtures.servers.azurite import Azurite
from fixtures.wire import Wire
from harmony_agent.core.errors import (
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    Unavailable,
)
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.interface import Repository, Token
from harmony_agent.settings import model
from harmony_agent.settings.secret import SecretStr
from tests.integration.repositories.backends import Backend
from tests.integration.repositories.conftest import make_backend
from tests.integration.repositories.scripted import answer, request, scripted
from tests.integration.repositories.test_failures import opened

pytestmark = pytest.mark.server

STORES = ("s3", "azureblob", "gcpbucket")
_CHUNK = 256 * 1024
_SIZE = 40 * _CHUNK


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Each of the object stores."""
    return make_backend(request.param, request, tmp_path)


@pytest.fixture
def wire(store: Backend) -> Iterator[Wire]:
    """The way to the store."""
    port = urlsplit(store.settings().endpoint).port  # type: ignore[union-attr]  # stores have one
    assert port is not None
    with Wire(port) as found:
        yield found


def over(store: Backend, wire: Wire) -> Repository:
    """A connector that goes by the wire."""
    account = f"/{Azurite.account}" if store.kind == "azureblob" else ""
    return store.connect(endpoint=f"http://127.0.0.1:{wire.port}{account}")


async def filled(letter: bytes, size: int = _SIZE) -> AsyncIterator[bytes]:
    """A file of one letter."""
    for _ in range(size // _CHUNK):
        yield letter * _CHUNK


async def content(repository: Repository, path: str) -> set[bytes]:
    """The letters that occur in a file, having looked that none is missing."""
    found: set[bytes] = set()
    size = 0
    async with repository.download(path) as download:
        async for chunk in download.chunks:
            found |= {chunk[:1], chunk[-1:]}
            size += len(chunk)
        assert size == download.size == _SIZE
    return found


async def test_an_upload_that_is_cut_leaves_the_old_version(store: Backend, wire: Wire) -> None:
    """Nobody ever sees the half that arrived, and the next try works on the same connector."""
    async with opened(over(store, wire)) as repository, opened(store.connect()) as other:
        token = await repository.upload("large", _SIZE, filled(b"a"), None)
        wire.cut_every(_SIZE // 3)
        with pytest.raises(Unavailable):
            await repository.upload("large", _SIZE, filled(b"b"), token)
        assert await content(other, "large") == {b"a"}
        wire.heal()
        await repository.upload("large", _SIZE, filled(b"b"), token)
        assert await content(other, "large") == {b"b"}


async def test_a_download_that_is_cut_says_so(store: Backend, wire: Wire) -> None:
    """What arrived is not taken for the file; afterwards it comes whole."""
    async with opened(over(store, wire)) as repository:
        await repository.upload("large", _SIZE, filled(b"a"), None)
        wire.cut_every(_SIZE // 3)
        with pytest.raises(Unavailable):
            await content(repository, "large")
        wire.heal()
        assert await content(repository, "large") == {b"a"}


async def test_of_racing_uploads_one_wins_and_the_others_are_told(store: Backend) -> None:
    """The content that stands is the winner's, whole."""
    nodes = [store.connect() for _ in range(4)]
    await asyncio.gather(*(node.open() for node in nodes))
    token = await nodes[0].upload("large", _SIZE, filled(b"x"), None)

    async def attempt(number: int) -> Token | None:
        try:
            letter = bytes([ord("a") + number])
            return await nodes[number].upload("large", _SIZE, filled(letter), token)
        except PreconditionFailed:
            return None

    try:
        found = await asyncio.gather(*map(attempt, range(4)))
        (winner,) = (number for number, new in enumerate(found) if new is not None)
        assert await content(nodes[0], "large") == {bytes([ord("a") + winner])}
    finally:
        await asyncio.gather(*(node.close() for node in nodes))


async def test_writes_whose_answers_are_lost_are_found_again(store: Backend) -> None:
    """The server has done it: no error, and the token is that of our own version. Of an upload it
    is said that nobody knows: to find out would be to read it all."""
    url = urlsplit(str(store.settings().endpoint))  # type: ignore[union-attr]  # stores have one
    losing = asyncio.Event()

    async def relay(reader: StreamReader, writer: StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", url.port)

        async def answers() -> None:
            while data := await there.read(_CHUNK):
                if losing.is_set():
                    losing.clear()
                    return
                writer.write(data)

        async def requests() -> None:
            while data := await reader.read(_CHUNK):
                back.write(data)

        sides = [asyncio.ensure_future(side()) for side in (answers, requests)]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in sides:
                side.cancel()
            back.transport.abort()

    async with (
        scripted(relay) as server,
        opened(store.connect(endpoint=f"{server.url}{url.path}")) as repository,
    ):
        losing.set()
        first = await repository.create("a", b"mine")
        losing.set()
        second = await repository.replace("a", b"mine again", first)
        assert (await repository.read("a")).token == second
        losing.set()
        await repository.delete("a", second)
        assert await repository.list() == []
        losing.set()
        with pytest.raises(OutcomeUnknown):
            await repository.upload("large", _SIZE, filled(b"a"), None)
        assert await content(repository, "large") == {b"a"}


def store_settings(
    kind: str, url: str
) -> model.S3Repository | model.AzureBlobRepository | model.GcpBucketRepository:
    """Settings that lead to a stand-in of any object store."""
    secret = SecretStr("c2VjcmV0")
    if kind == "azureblob":
        return model.AzureBlobRepository(
            account="a", access_key=secret, container="b", endpoint=f"{url}/a"
        )
    if kind == "gcpbucket":
        return model.GcpBucketRepository(bucket="b", endpoint=url)
    return model.S3Repository(
        bucket="b", endpoint=url, access_key="AK", secret_access_key=secret, path_style=True
    )


def store_at(kind: str, url: str) -> Repository:
    """A connector of any object store to a stand-in."""
    return connect(store_settings(kind, url), "S", ca_bundle=None)


def s3_at(url: str) -> Repository:
    """An S3 connector to a stand-in."""
    return store_at("s3", url)


def refusing(status: str, body: str = "", **headers: str) -> Handler:
    """A store that says yes to listings and this to everything else."""

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            first, given = await request(reader)
            await reader.readexactly(int(given.get("content-length", "0")))
            listing = answer(b"<ListBucketResult/>")
            told = answer(body.encode(), status, **headers)
            writer.write(listing if "list-type=2" in first else told)

    return script


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        ("503 Slow Down", "SlowDown", Unavailable, "is busy (SlowDown)"),
        ("500 Oops", "InternalError", OutcomeUnknown, "answered 500 (InternalError)"),
        ("400 Bad", "ExpiredToken", Refused, "credentials or this machine's clock are off"),
        ("403 No", "RequestTimeTooSkewed", Refused, "this machine's clock"),
        ("301 Moved", "PermanentRedirect", Refused, "set region to eu-west-1"),
        ("409 Conflict", "ConditionalRequestConflict", PreconditionFailed, "somebody else"),
        ("403 No", "AccessDenied", Refused, "permission denied (AccessDenied); allow"),
        ("400 Bad", "KMS.NotFoundException", Refused, "no such key of yours"),
        ("502 Bad Gateway", "", OutcomeUnknown, "answered 502"),
    ],
)
async def test_each_refusal_of_s3_is_told_apart(
    status: str, code: str, kind: type[AgentError], words: str
) -> None:
    """The type says whether to try again, the message what to change; no secret in it."""
    body = f"<Error><Code>{code}</Code><Message>no such key of yours</Message></Error>"
    script = refusing(
        status, body if code else "<html>", x_amz_bucket_region="eu-west-1", retry_after="7"
    )
    async with scripted(script) as server, opened(s3_at(server.url)) as repository:
        with pytest.raises(kind) as caught:
            await repository.create("a", b"x")
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    if "busy" in words:
        assert isinstance(caught.value, Unavailable)
        assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    "page",
    [
        b"<html><body>Please sign in<br></body></html>",
        b"<html><body>Please sign in</body></html>",
        b'["please sign in"]',
        b'{"error": "please sign in"}',
    ],
    ids=["html", "xhtml", "json", "json object"],
)
@pytest.mark.parametrize("kind", STORES)
async def test_a_listing_that_is_no_listing_is_no_empty_repository(kind: str, page: bytes) -> None:
    """A captive portal comes on the way and answers everything with 200 and a page: a new home
    would be restored from nothing. Nor is such a server opened."""
    listings = {
        "s3": b"<ListBucketResult/>",
        "azureblob": b"<EnumerationResults><Blobs/></EnumerationResults>",
        "gcpbucket": b'{"kind": "storage#objects"}',
    }
    body = listings[kind]

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            await request(reader)
            writer.write(answer(body))

    async with scripted(script) as server:
        connector = store_at(kind, server.url)
        async with opened(connector):
            assert await connector.list() == []
            body = page
            with pytest.raises(OutcomeUnknown, match="does not answer as an object store does"):
                await connector.list()
        another = store_at(kind, server.url)
        with pytest.raises(OutcomeUnknown, match="does not answer as an object store does"):
            async with opened(another):
                pass


@pytest.mark.parametrize(
    "page",
    [
        b'{"size": "1", "generation": "1"}',
        b'{"kind": "storage#objects", "size": "1", "generation": "1"}',
        b'["please sign in"]',
    ],
    ids=["no kind", "another kind", "no object"],
)
async def test_an_answer_of_another_kind_is_no_object(page: bytes) -> None:
    """Google names what it answers: anything else neither tells of a file nor acknowledges one."""

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            first, given = await request(reader)
            await reader.readexactly(int(given.get("content-length", "0")))
            is_listing = "maxResults" in first
            writer.write(answer(b'{"kind": "storage#objects"}' if is_listing else page))

    async with (
        scripted(script) as server,
        opened(store_at("gcpbucket", server.url)) as repository,
    ):
        with pytest.raises(OutcomeUnknown, match="does not answer as an object store does"):
            await repository.stat("a")
        with pytest.raises(OutcomeUnknown, match="does not answer as an object store does"):
            await repository.create("a", b"content")


async def test_a_server_without_folder_objects_takes_files(tmp_path: Path) -> None:
    """It refuses keys that end in a slash: told once, and the folder is but a prefix."""
    keys: list[str] = []

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            first, given = await request(reader)
            await reader.readexactly(int(given.get("content-length", "0")))
            method, target, _ = first.split(" ")
            path = target.partition("?")[0]
            if method == "PUT" and path.endswith("/"):
                told = b"<Error><Code>InvalidObjectName</Code></Error>"
                writer.write(answer(told, "400 Bad Request"))
            elif method == "PUT":
                keys.append(path)
                writer.write(answer(etag='"1"'))
            else:
                writer.write(answer(b"<ListBucketResult/>"))

    async with scripted(script) as server, opened(s3_at(server.url)) as repository:
        await repository.make_folder("hosts")
        await repository.make_folder("conf")
        await repository.create("hosts/a.xml", b"<Host/>")
    assert keys == ["/b/S/hosts/a.xml"]
