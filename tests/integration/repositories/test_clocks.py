"""Object stores, and a node whose clock is wrong or jumps while it runs."""

import json
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

import pytest
from azure.core.credentials import AccessToken

from fixtures.servers.azurite import Azurite
from fixtures.servers.gcs import Gcs
from fixtures.servers.seaweedfs import SeaweedFs
from harmony_agent.core.errors import Refused
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.objects import azure_token, server_clock
from harmony_agent.settings import model
from tests.integration.repositories.backends import azure_settings, gcs_settings, s3_settings
from tests.integration.repositories.scripted import answer, request, scripted

pytestmark = pytest.mark.server

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Clock(datetime):
    """The clock of a machine that is `off`."""

    off = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a plain one does
        """What it shows."""
        return datetime.now(tz) + cls.off


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    """This machine's clock as requests are signed by it."""
    monkeypatch.setattr(server_clock, "datetime", Clock)
    monkeypatch.setattr(Clock, "off", timedelta())
    return Clock


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.mark.parametrize("off", [HOUR, -HOUR])
async def test_s3_is_worked_with_by_its_own_time(
    seaweedfs: SeaweedFs, clock: type[Clock], off: timedelta
) -> None:
    """A node that starts with a wrong clock, and one whose clock jumps, go on by the server's."""
    repository = connect(s3_settings(seaweedfs), f"Clock-{off}", ca_bundle=None)
    clock.off = off
    await repository.open()
    token = await repository.create("certs/a", b"1")
    for jump in (-DAY, timedelta(), 30 * DAY):
        clock.off = jump
        token = await repository.replace("certs/a", b"2", token)
        clock.off = -jump
        assert await repository.stat("certs/a") is not None, "a HEAD's refusal says nothing but 403"
    assert [entry.path for entry in await repository.list()] == ["certs/a"]
    await repository.close()


async def test_what_can_not_be_sent_twice_succeeds_at_the_next_try(
    seaweedfs: SeaweedFs, clock: type[Clock]
) -> None:
    """Long uploads and downloads right after the clock jumped: refused, told, and not again."""
    repository = connect(s3_settings(seaweedfs), "Clock-long", ca_bundle=None)
    await repository.open()
    clock.off = HOUR
    with pytest.raises(Refused, match="clock"):
        await repository.upload("certs/a", 4, _pieces(b"long"), None)
    await repository.upload("certs/a", 4, _pieces(b"long"), None)
    clock.off = -HOUR
    with pytest.raises(Refused, match="clock"):
        async with repository.download("certs/a"):
            pass
    async with repository.download("certs/a") as found:
        assert [piece async for piece in found.chunks] == [b"long"]
    await repository.close()


async def test_azure_is_worked_with_by_its_own_time(tmp_path: Path, clock: type[Clock]) -> None:
    """As Azure refuses what is signed more than 15 minutes off, and says so by 403 alone (Azurite
    takes any time)."""

    async def azure(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            _, given = await request(reader)
            now = datetime.now(UTC)
            late = abs(parsedate_to_datetime(given["x-ms-date"]) - now) > timedelta(minutes=15)
            date = format_datetime(now, usegmt=True)
            code = "AuthenticationFailed" if late else ""
            status = "403 Forbidden" if late else "200 OK"
            body = b"" if late else b"<EnumerationResults/>"
            writer.write(answer(body, status, date=date, x_ms_error_code=code))

    async with scripted(azure) as server:
        settings = azure_settings(Azurite(tmp_path), endpoint=f"{server.url}/account")
        repository = connect(settings, "S", ca_bundle=None)
        for off in (HOUR, -DAY):
            clock.off = off
            await repository.open()
            assert await repository.list() == []
        await repository.close()


async def test_a_token_that_google_takes_no_more_is_renewed(tmp_path: Path) -> None:
    """A clock that was set back makes a token look valid long after it has expired."""
    tokens: list[str] = []
    expired: set[str] = set()

    async def google(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            first, given = await request(reader)
            await reader.readexactly(int(given.get("content-length", "0")))
            if first.startswith("POST /token"):
                tokens.append(f"token-{len(tokens)}")
                told = {"access_token": tokens[-1], "expires_in": 3600, "token_type": "Bearer"}
                writer.write(answer(json.dumps(told).encode(), content_type="application/json"))
            elif given["authorization"].removeprefix("Bearer ") in expired:
                writer.write(answer(status="401 Unauthorized"))
            else:
                writer.write(answer(b'{"kind": "storage#objects"}'))

    gcs = Gcs(tmp_path)
    async with scripted(google) as server:
        key = json.dumps(json.loads(gcs.account_key) | {"token_uri": f"{server.url}/token"})
        settings = gcs_settings(gcs, account_key=key, endpoint=server.url)
        assert isinstance(settings, model.GcpBucketRepository)
        repository = connect(settings, "S", ca_bundle=None)
        await repository.open()
        expired.update(tokens)
        with pytest.raises(Refused, match="googleAccountKey"):
            await repository.list()
        assert await repository.list() == []
        assert len(tokens) == 2
        await repository.close()


async def test_a_token_that_azure_takes_no_more_is_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same with a pod's identity."""
    tokens: list[str] = []
    expired: set[str] = set()

    class Identity:
        """In place of azure-identity, which gives a token again as long as our clock allows."""

        def __init__(self) -> None:
            self._token = f"token-{len(tokens)}"
            tokens.append(self._token)

        def get_token(self, _: str) -> AccessToken:
            return AccessToken(self._token, int(time.time() + DAY.total_seconds()))

        def close(self) -> None:
            """Nothing to give back."""

    async def azure(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            _, given = await request(reader)
            known = given["authorization"].removeprefix("Bearer ") not in expired
            no = answer(status="401 Unauthorized", x_ms_error_code="InvalidAuthenticationInfo")
            writer.write(answer(b"<EnumerationResults/>") if known else no)

    monkeypatch.setattr(azure_token, "DefaultAzureCredential", Identity)
    async with scripted(azure) as server:
        settings = model.AzureBlobRepository(account="a", container="b", endpoint=server.url)
        repository = connect(settings, "S", ca_bundle=None)
        await repository.open()
        expired.update(tokens)
        with pytest.raises(Refused, match="does not accept the pod's identity"):
            await repository.list()
        assert await repository.list() == []
        await repository.close()
