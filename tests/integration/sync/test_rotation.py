"""Credentials that are rotated while the agent runs, the old ones refused afterwards: the sync goes
on without a restart, whichever of server and secret is changed first."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.servers.azurite import Azurite
from fixtures.servers.gcs import Gcs
from fixtures.servers.gcs_proxy import Account as GoogleAccount
from fixtures.servers.samba import Samba
from fixtures.servers.seaweedfs import SeaweedFs
from tests.integration.repositories.backends import (
    SERVERS,
    azure_settings,
    gcs_settings,
    s3_settings,
)
from tests.integration.sync.disk import tree
from tests.integration.sync.outside import Bucket, Folder, Outside
from tests.integration.sync.pod import (
    azure_secret,
    gcs_secret,
    new_system,
    pod,
    s3_secret,
    smb_secret,
    start,
)
from tests.system.agent_process import eventually

pytestmark = pytest.mark.server

LIMIT = 120.0  # seconds for what takes a few on a machine with nothing else to do
WORDS = ("first-password", "second-password", "third-password")


@dataclass(frozen=True)
class Account:
    """An account of a server: how the secret says it, how the server is told another password, and
    how the agent says that the server refuses it. `passwords` are in the server's own form; the
    first is valid at the beginning."""

    system: str
    outside: Callable[[], Outside]
    secret: Callable[[str], str]
    set_password: Callable[[str], None]
    refusal: str
    passwords: tuple[str, ...] = WORDS


@pytest.fixture
def own_samba(tmp_path: Path) -> Iterator[Samba]:
    """An SMB server whose password may be changed."""
    with Samba(tmp_path / "samba") as server:
        yield server


@pytest.fixture
def own_azurite(tmp_path: Path) -> Iterator[Azurite]:
    """An Azure server whose key may be changed, for which it is restarted."""
    with Azurite(tmp_path / "azurite", durable=True) as server:
        yield server


def smb_account(samba: Samba, system: str) -> Account:
    """A user's password."""
    return Account(
        system,
        lambda: Folder(samba.files / system),
        lambda password: smb_secret(samba, samba.share, password),
        samba.set_password,
        "refuses the login: wrong user name or password",
    )


def s3_account(store: SeaweedFs, system: str) -> Account:
    """An access key's secret key."""
    key = f"AK{system}"
    return Account(
        system,
        lambda: Bucket(s3_settings(store), system),
        lambda password: s3_secret(store, key, password),
        lambda password: store.admit(key, password, "Read", "Write", "List"),
        "does not know accessKey or secretAccessKey",
    )


def azure_account(azurite: Azurite, system: str) -> Account:
    """A storage account's key."""
    return Account(
        system,
        lambda: Bucket(azure_settings(azurite), system),
        lambda key: azure_secret(azurite, key),
        azurite.replace_key,
        "check accessKey",  # Azurite; Azure itself would say that it is the key
        tuple(base64.b64encode(word.encode()).decode() for word in WORDS),
    )


def google_account(gcs: Gcs, system: str) -> Account:
    """A service account's key: what is in the middle of its key file."""
    accounts = [
        GoogleAccount(f"{system}@test.iam.gserviceaccount.com", may_write=True, is_enabled=False)
        for _ in WORDS
    ]
    files = {_middle(file): file for file in map(gcs.admit, accounts)}

    def set_key(key: str) -> None:
        for account, one in zip(accounts, files, strict=True):
            account.is_enabled = one == key

    return Account(
        system,
        lambda: Bucket(gcs_settings(gcs), system),
        lambda key: gcs_secret(gcs, files[key]),
        set_key,
        "Google does not accept",
        tuple(files),
    )


def _middle(key_file: str) -> str:
    lines = json.loads(key_file)["private_key"].splitlines()
    return str(lines[len(lines) // 2])


@pytest.fixture(params=SERVERS)
def account(request: pytest.FixtureRequest) -> Account:
    """An account with its first password."""
    makers: dict[str, tuple[str, Callable[[Any, str], Account]]] = {
        "smb": ("own_samba", smb_account),
        "s3": ("seaweedfs", s3_account),
        "azureblob": ("own_azurite", azure_account),
        "gcpbucket": ("gcs", google_account),
    }
    fixture, make = makers[request.param]
    made = make(request.getfixturevalue(fixture), new_system())
    made.set_password(made.passwords[0])
    return made


def test_a_rotated_password_takes_effect_without_a_restart(
    account: Account, tmp_path: Path
) -> None:
    """First the secret is changed before the server, which costs nothing; then the server before
    the secret: told meanwhile, and everything of both sides arrives afterwards."""
    first, second, third = account.passwords
    layout = pod(tmp_path, account.secret(first), account.system)

    def rotate(password: str) -> None:
        text = account.secret(password)
        layout.write_secrets(cleo_config_repo=text, cleo_runtime_repo=text)

    def in_step(*names: str) -> bool:
        files = {f"certs/{name}.cer": name.encode() for name in names}
        return account.outside().files() == tree(layout.home) == files

    def harmony_writes(name: str) -> None:
        (layout.home / "certs" / f"{name}.cer").write_bytes(name.encode())

    def lines() -> str:
        return agent.probe("/readyz?verbose")[1]

    (layout.home / "certs").mkdir()
    harmony_writes("one")
    with start(layout) as agent:
        agent.wait_started(LIMIT)

        rotate(second)
        for name in ("configuration", "runtime"):
            eventually(lambda: f"[!]{name}-secret" in lines(), LIMIT, "the early secret told")  # noqa: B023
        harmony_writes("two")
        eventually(lambda: in_step("one", "two"), LIMIT, "going on with the old password")
        account.set_password(second)
        eventually(lambda: "[+]configuration-secret" in lines(), LIMIT, "the new one in use")
        eventually(lambda: "[!]" not in lines(), LIMIT, "recovery")

        account.set_password(third)
        harmony_writes("three")
        account.outside().put("certs/four.cer", b"four")
        eventually(lambda: account.refusal in agent.status()["configuration"]["trouble"], LIMIT)
        assert account.refusal in agent.log
        assert agent.probe("/readyz")[0] == 200
        rotate(third)
        eventually(lambda: in_step("one", "two", "three", "four"), LIMIT, "all of both sides")
        eventually(lambda: "[!]" not in lines(), LIMIT, "recovery")

        assert agent.stop() == 0
        for leak in (*account.passwords, "Traceback"):
            assert leak not in agent.log
