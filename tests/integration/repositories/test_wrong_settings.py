"""What a person reads whose settings lead to the wrong place, by way of a proxy or directly."""

import ssl
from asyncio import StreamReader, StreamWriter
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from fixtures.connections import Handler
from fixtures.serve import free_port
from fixtures.servers.samba import Samba
from fixtures.tls import TestAuthority
from harmony_agent.core.errors import AgentError, PreconditionFailed, Refused, Unavailable
from harmony_agent.repositories.connect import connect
from tests.integration.repositories.backends import smb_settings
from tests.integration.repositories.scripted import answer, request, scripted
from tests.integration.repositories.test_failures import failure_of_opening, opened
from tests.integration.repositories.test_store_faults import (
    STORES,
    s3_at,
    store_at,
    store_settings,
)

pytestmark = pytest.mark.server

_STORE = "http://store.invalid"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the machine's own."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def always(whole: bytes) -> Handler:
    """A server that gives one answer to everything."""

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            _, given = await request(reader)
            await reader.readexactly(int(given.get("content-length", "0")))
            writer.write(whole)

    return script


@pytest.mark.parametrize("kind", STORES)
async def test_an_endpoint_that_redirects_is_told_where_to(kind: str) -> None:
    """As http:// to https:// does; nothing secret is sent there."""
    moved = answer(status="301 Moved", location="https://right.example/b?x=y")
    async with scripted(always(moved)) as server:
        error = await failure_of_opening(store_at(kind, server.url))
    assert isinstance(error, Refused)
    assert "redirects to https://right.example; correct the endpoint" in str(error)


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_down_is_not_taken_for_the_store(
    kind: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the proxy and the variables."""
    port = free_port()
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://me:secret@127.0.0.1:{port}")
    error = await failure_of_opening(store_at(kind, f"{scheme}://store.invalid"))
    assert type(error) is Unavailable
    assert f"the proxy 127.0.0.1:{port} can't be reached (Connection refused)" in str(error)
    assert "HTTPS_PROXY" in str(error)
    assert "secret" not in str(error)


async def test_a_proxy_whose_name_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the store's name that can't be resolved."""
    monkeypatch.setenv("HTTP_PROXY", "http://no-such-proxy.invalid:3128")
    error = await failure_of_opening(s3_at(_STORE))
    assert type(error) is Unavailable
    assert "the proxy no-such-proxy.invalid:3128 can't be reached" in str(error)
    assert "store.invalid" not in str(error)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("login", "words"), [("", "wants a login"), ("me:wrong@", "does not accept the user")]
)
async def test_a_proxy_that_wants_another_login_says_so(
    scheme: str, login: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its 407 is not taken for an answer of the store."""
    async with scripted(always(answer(status="407 Login"))) as proxy:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://{login}127.0.0.1:{proxy.port}")
        error = await failure_of_opening(s3_at(f"{scheme}://store.invalid"))
    assert type(error) is Unavailable
    assert f"the proxy 127.0.0.1:{proxy.port} {words}" in str(error)
    assert "wrong" not in str(error)


async def test_a_certificate_for_another_name_is_no_unknown_authority(tmp_path: Path) -> None:
    """To add the authority once more would be of no use: the name is to be corrected."""
    authority = TestAuthority(tmp_path / "ca")
    certificate = authority.issue("other.example")
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(certificate.chain_and_key)
    async with scripted(always(answer()), shown) as server:
        settings = store_settings("s3", f"https://127.0.0.1:{server.port}")
        error = await failure_of_opening(connect(settings, "S", ca_bundle=authority.bundle))
    assert isinstance(error, Refused)
    assert "is for another name" in str(error)


async def test_a_share_without_encryption_says_which_setting_is_at_odds(tmp_path: Path) -> None:
    """Encryption is the default, and old servers have none."""
    with Samba(tmp_path / "samba", newest="SMB2_10", encryption="off") as server:
        error = await failure_of_opening(connect(smb_settings(server), "S", ca_bundle=None))
        assert isinstance(error, Refused)
        assert "set encrypt to off" in str(error)
        async with opened(connect(smb_settings(server, encrypt=False), "S", ca_bundle=None)):
            pass


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), (b"no PEM", "it holds no certificate")]
)
async def test_a_ca_bundle_that_is_none_is_named(
    kind: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    """It is not the server that does not speak TLS, or can't be reached."""
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    settings = replace(store_settings(kind, "https://127.0.0.1:1"), ca_bundle=bundle)
    error = await failure_of_opening(connect(settings, "S", ca_bundle=None))
    assert isinstance(error, Refused)
    assert f"{bundle} can't be used ({words}" in str(error)


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        ("409 No", "BlobAlreadyExists", PreconditionFailed, "somebody else was first"),
        ("412 No", "ConditionNotMet", PreconditionFailed, "somebody else was first"),
        ("409 No", "BlobImmutableDueToPolicy", Refused, "forbids changes"),
        ("412 No", "LeaseIdMissing", Unavailable, "holds an Azure lease"),
    ],
)
async def test_what_forbids_a_change_in_azure_is_no_lost_race(
    status: str, code: str, kind: type[AgentError], words: str
) -> None:
    """Or it would be tried again and again without a word to anybody."""
    listing = answer(b"<EnumerationResults/>")

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            first, given = await request(reader)
            await reader.readexactly(int(given.get("content-length", "0")))
            is_listing = first.startswith("GET") and "comp=list" in first
            writer.write(listing if is_listing else answer(status=status, x_ms_error_code=code))

    async with scripted(script) as server, opened(store_at("azureblob", server.url)) as store:
        with pytest.raises(kind, match=words):
            await store.create("a", b"x")


async def test_what_google_says_is_passed_on() -> None:
    """A role is but one of the reasons for its 403."""
    body = orjson.dumps({"error": {"code": 403, "message": "The billing account\nis closed."}})
    async with scripted(always(answer(body, "403 Forbidden"))) as server:
        error = await failure_of_opening(store_at("gcpbucket", server.url))
    assert isinstance(error, Refused)
    assert "(Google says: The billing account is closed.)" in str(error)


async def test_a_busy_store_is_asked_once() -> None:
    """It said for how long it wants to be left alone."""
    asked = 0

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal asked
        while True:
            await request(reader)
            asked += 1
            writer.write(answer(status="503 Slow Down", retry_after="7"))

    async with scripted(script) as server:
        store = s3_at(server.url)
        with pytest.raises(Unavailable):
            await store.open()
        asked = 0
        with pytest.raises(Unavailable) as caught:
            await store.read("a")
        await store.close()
    assert caught.value.retry_after == 7
    assert asked == 1
