"""What goes wrong is named, and nothing hangs: against real servers and real sockets."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.serve import free_port
from fixtures.servers.azurite import Azurite
from fixtures.servers.gcs import Gcs
from fixtures.servers.rclone_s3 import RcloneS3
from fixtures.servers.samba import Samba
from fixtures.servers.seaweedfs import SeaweedFs
from fixtures.tls import TestAuthority
from harmony_agent.core.errors import AgentError, OutcomeUnknown, Refused, Unavailable
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.proof import prove
from harmony_agent.settings import model
from harmony_agent.settings.secret import SecretStr
from tests.integration.repositories.backends import (
    SERVERS,
    Backend,
    azure_settings,
    gcs_settings,
    s3_settings,
    smb_settings,
)
from tests.integration.repositories.conftest import make_backend

pytestmark = pytest.mark.server

_NOBODY = "no-such-host.invalid"  # RFC 6761: never resolves
_WRONG_AZURE_KEY = "d3JvbmcgYWNjb3VudCBrZXk="


@asynccontextmanager
async def opened(connector: Repository) -> AsyncIterator[Repository]:
    """The connector, opened and closed."""
    try:
        await connector.open()
        yield connector
    finally:
        await connector.close()


async def failure_of_opening(connector: Repository) -> AgentError:
    """What `open` raises; fails the test if it raises nothing."""
    with pytest.raises(AgentError) as caught:
        async with opened(connector):
            pass
    return caught.value


@pytest.fixture(params=SERVERS)
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Each of the backends that are reached over a network."""
    return make_backend(request.param, request, tmp_path)


def changed_server(backend: Backend, host: str, port: int) -> dict[str, Any]:
    """The change of settings that points the backend to another server."""
    if backend.kind == "smb":
        return {"server": host, "port": port}
    account = f"/{Azurite.account}" if backend.kind == "azureblob" else ""
    return {"endpoint": f"http://{host}:{port}{account}"}


WRONG_CREDENTIALS = [
    ("smb", {"password": "not-it-at-all"}, "userPassword"),
    ("smb", {"user": "nobody-of-that-name"}, "userName"),
    ("s3", {"access_key": "AKNOBODY"}, "accessKey"),
    ("s3", {"secret_access_key": "not-it-at-all"}, "secretAccessKey"),
    ("azureblob", {"access_key": _WRONG_AZURE_KEY}, "accessKey"),
]


@pytest.mark.parametrize(("kind", "changes", "named"), WRONG_CREDENTIALS)
async def test_wrong_credentials_are_refused_and_named(
    kind: str, changes: dict[str, Any], named: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The message says which setting is wrong, and shows no secret."""
    backend = make_backend(kind, request, tmp_path)
    error = await failure_of_opening(backend.connect(**changes))
    assert isinstance(error, Refused)
    assert named in str(error)
    assert "not-it-at-all" not in str(error)


async def test_another_live_session_lends_no_rights(samba: Samba) -> None:
    """While one connector works, another one with a wrong password is refused: sessions with a
    server are not shared by the process."""
    good = connect(smb_settings(samba), "Sessions", ca_bundle=None)
    async with opened(good):
        await good.create("a", b"x")
        error = await failure_of_opening(
            connect(smb_settings(samba, password="not-it-at-all"), "Sessions", ca_bundle=None)
        )
        assert isinstance(error, Refused)
        assert "userName" in str(error)
        assert (await good.read("a")).data == b"x"


async def test_an_unknown_google_account_is_refused(gcs: Gcs, tmp_path: Path) -> None:
    """A key that Google does not know leads to a message that names the setting."""
    settings = gcs_settings(gcs, account_key=gcs.unknown_key)
    error = await failure_of_opening(connect(settings, "S", ca_bundle=None))
    assert isinstance(error, Refused)
    assert "googleAccountKey" in str(error)


MISSING = [
    ("smb", {"share": "nothere"}, "share nothere"),
    ("s3", {"bucket": "nothere"}, "bucket nothere"),
    ("azureblob", {"container": "nothere"}, "container nothere"),
    ("gcpbucket", {"bucket": "nothere"}, "bucket nothere"),
    ("file", {"root": "/nothere"}, "/nothere is not a folder"),
]


@pytest.mark.parametrize(("kind", "changes", "named"), MISSING)
async def test_a_missing_bucket_is_refused_and_named(
    kind: str, changes: dict[str, Any], named: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The message names the bucket, container, share or folder that is not there."""
    backend = make_backend(kind, request, tmp_path)
    error = await failure_of_opening(backend.connect(**changes))
    assert isinstance(error, Refused)
    assert named in str(error)


@pytest.mark.parametrize(("kind", "changes", "named"), MISSING)
async def test_a_vanished_bucket_does_not_look_empty(
    kind: str, changes: dict[str, Any], named: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Listing, looking and reading where there is no bucket raise Refused: an empty answer would
    look like everything deleted."""
    connector = make_backend(kind, request, tmp_path).connect(**changes)
    try:
        with pytest.raises(Refused):
            await connector.open()
        for attempt in (connector.list(), connector.stat("a"), connector.read("a")):
            with pytest.raises(Refused, match=named):
                await attempt
    finally:
        await connector.close()


async def test_an_account_that_may_only_read_is_told_at_the_proof(
    samba: Samba, seaweedfs: SeaweedFs, gcs: Gcs, tmp_path: Path
) -> None:
    """Opening works, writing is refused as a matter of permission, and the proof says 'write'."""
    readers: list[model.Repository] = [
        smb_settings(samba, share="readonly"),
        s3_settings(
            seaweedfs, access_key=seaweedfs.reader_key, secret_access_key=seaweedfs.reader_secret
        ),
        gcs_settings(gcs, account_key=gcs.reader_key),
    ]
    for settings in readers:
        connector = connect(settings, ".", ca_bundle=None)
        async with opened(connector):
            with pytest.raises(Refused, match=r"can't write a probe file.*permission denied"):
                await prove(connector)


async def test_a_share_that_is_not_for_this_account_is_refused(
    samba: Samba, tmp_path: Path
) -> None:
    """No access to the share at all is a matter of permission as well."""
    settings = smb_settings(samba, share="forbidden")
    error = await failure_of_opening(connect(settings, "S", ca_bundle=None))
    assert isinstance(error, Refused)
    assert "permission denied" in str(error)


async def test_an_unresolvable_name_is_named(remote: Backend) -> None:
    """DNS is told apart from everything else, and tried again: pods start before DNS does."""
    error = await failure_of_opening(remote.connect(**changed_server(remote, _NOBODY, 445)))
    assert type(error) is Unavailable
    assert re.search(f"{_NOBODY}.*can't be resolved", str(error))


async def test_a_refused_connection_is_named(remote: Backend) -> None:
    """Nobody listens: the message asks whether the server is up."""
    port = free_port()
    error = await failure_of_opening(remote.connect(**changed_server(remote, "127.0.0.1", port)))
    assert type(error) is Unavailable
    assert re.search(f"127.0.0.1:{port}.* refuses the connection", str(error))


@pytest.fixture
def black_hole() -> Iterator[int]:
    """The port of a socket that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


async def test_a_server_that_never_answers_ends_within_the_limit(
    remote: Backend, black_hole: int
) -> None:
    """Opening gives up after its 10 seconds; it does not hang for minutes as the SDKs would."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    connector = remote.connect(**changed_server(remote, "127.0.0.1", black_hole))
    error = await failure_of_opening(connector)
    assert isinstance(error, Unavailable)
    assert "in time" in str(error) or "within" in str(error)
    assert loop.time() - begun < 18


async def test_work_goes_on_after_the_server_was_restarted(remote: Backend) -> None:
    """The same connector works again by itself: no new login has to be asked for."""
    assert remote.server is not None
    async with opened(remote.connect()) as repository:
        await repository.create("before", b"1")
        remote.server.kill()
        with pytest.raises(Unavailable):
            await repository.read("before")
        remote.server.start()
        await succeeds(repository)


async def succeeds(repository: Repository) -> None:
    """Write until it works; the server may take a moment after it listens again."""
    async with asyncio.timeout(60):
        number = 0
        while True:
            number += 1
            try:
                await repository.create(f"after-{number}", b"2")
            except Unavailable:
                await asyncio.sleep(0.2)
            else:
                assert (await repository.read(f"after-{number}")).data == b"2"
                return


async def test_a_hung_smb_server_frees_its_threads_when_it_wakes(tmp_path: Path) -> None:
    """Operations on a frozen server end at their limit, and work goes on after it thaws."""
    with Samba(tmp_path / "samba") as server:
        connector = connect(smb_settings(server), "S", ca_bundle=None)
        async with opened(connector):
            await connector.create("before", b"1")
            server.freeze_connections()
            with pytest.raises(OutcomeUnknown, match="no answer within 10 s"):
                await asyncio.gather(*(connector.stat("before") for _ in range(20)))
            server.thaw_connections()
            await succeeds(connector)


async def test_tls_is_verified_and_a_ca_bundle_is_added(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A certificate of an unknown authority is refused by name; with caBundle it is accepted."""
    authority = TestAuthority(tmp_path / "ca")
    certificate = authority.issue()
    with (
        SeaweedFs(tmp_path_factory.mktemp("weed"), certificate) as weed,
        Azurite(tmp_path_factory.mktemp("azurite"), certificate, authority.bundle) as azurite,
    ):
        for settings in (
            s3_settings(weed, endpoint=weed.secure_endpoint),
            azure_settings(azurite),
        ):
            connector = connect(settings, "S", ca_bundle=None)
            error = await failure_of_opening(connector)
            assert isinstance(error, Refused)
            assert "is not trusted" in str(error)
            assert "caBundle" in str(error)
            connector = connect(settings, "S", ca_bundle=authority.bundle)
            async with opened(connector):
                await connector.create("a", b"")


async def test_the_proof_notices_a_store_that_ignores_conditions(tmp_path: Path) -> None:
    """rclone's S3 server accepts every write: the repository is degraded, not refused."""
    with RcloneS3(tmp_path / "rclone") as server:
        settings = model.S3Repository(
            bucket=server.bucket,
            endpoint=server.endpoint,
            access_key=server.access_key,
            secret_access_key=SecretStr(server.secret_key),
            path_style=True,
        )
        connector = connect(settings, "S", ca_bundle=None)
        async with opened(connector):
            assert not (await prove(connector)).conditional_writes
            assert await connector.list() == []
