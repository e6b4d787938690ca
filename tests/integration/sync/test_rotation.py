"""Credentials that are rotated while the agent runs, the old ones refused afterwards: the sync goes
on without a restart, whichever of server and secret is changed first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.servers.samba import Samba
from fixtures.servers.seaweedfs import SeaweedFs
from tests.integration.repositories.backends import s3_settings
from tests.integration.sync.disk import tree
from tests.integration.sync.outside import Bucket, Folder, Outside
from tests.integration.sync.pod import new_system, pod, s3_secret, smb_secret, start
from tests.system.agent_process import eventually

pytestmark = pytest.mark.server

LIMIT = 120.0  # seconds for what takes a few on a machine with nothing else to do


@dataclass(frozen=True)
class Account:
    """An account of a server: how the secret says it, how the server is told another password."""

    system: str
    outside: Outside
    secret: Callable[[str], str]
    set_password: Callable[[str], None]
    refusal: str


@pytest.fixture
def own_samba(tmp_path: Path) -> Iterator[Samba]:
    """An SMB server whose password may be changed."""
    with Samba(tmp_path / "samba") as server:
        yield server


@pytest.fixture(params=["smb", "s3"])
def account(request: pytest.FixtureRequest) -> Account:
    """An account whose password is "first-password"."""
    system = new_system()
    if request.param == "smb":
        samba: Samba = request.getfixturevalue("own_samba")
        samba.set_password("first-password")
        return Account(
            system,
            Folder(samba.files / system),
            lambda password: smb_secret(samba, samba.share, password),
            samba.set_password,
            "refuses the login: wrong user name or password",
        )
    store: SeaweedFs = request.getfixturevalue("seaweedfs")
    key = f"AK{system}"

    def admit(password: str) -> None:
        store.admit(key, password, "Read", "Write", "List")

    admit("first-password")
    return Account(
        system,
        Bucket(s3_settings(store), system),
        lambda password: s3_secret(store, key, password),
        admit,
        "does not know accessKey or secretAccessKey",
    )


def test_a_rotated_password_takes_effect_without_a_restart(
    account: Account, tmp_path: Path
) -> None:
    """First the secret is changed before the server, which costs nothing; then the server before
    the secret: told meanwhile, and everything of both sides arrives afterwards."""
    layout = pod(tmp_path, account.secret("first-password"), account.system)

    def rotate(password: str) -> None:
        text = account.secret(password)
        layout.write_secrets(cleo_config_repo=text, cleo_runtime_repo=text)

    def in_step(*names: str) -> bool:
        files = {f"certs/{name}.cer": name.encode() for name in names}
        return account.outside.files() == tree(layout.home) == files

    def harmony_writes(name: str) -> None:
        (layout.home / "certs" / f"{name}.cer").write_bytes(name.encode())

    def lines() -> str:
        return agent.probe("/readyz?verbose")[1]

    (layout.home / "certs").mkdir()
    harmony_writes("one")
    with start(layout) as agent:
        agent.wait_started(LIMIT)

        rotate("second-password")
        for name in ("configuration", "runtime"):
            eventually(lambda: f"[!]{name}-secret" in lines(), LIMIT, "the early secret told")  # noqa: B023
        harmony_writes("two")
        eventually(lambda: in_step("one", "two"), LIMIT, "going on with the old password")
        account.set_password("second-password")
        eventually(lambda: "[+]configuration-secret" in lines(), LIMIT, "the new one in use")
        eventually(lambda: "[!]" not in lines(), LIMIT, "recovery")

        account.set_password("third-password")
        harmony_writes("three")
        account.outside.put("certs/four.cer", b"four")
        eventually(lambda: account.refusal in agent.status()["configuration"]["trouble"], LIMIT)
        assert account.refusal in agent.log
        assert agent.probe("/readyz")[0] == 200
        rotate("third-password")
        eventually(lambda: in_step("one", "two", "three", "four"), LIMIT, "all of both sides")
        eventually(lambda: "[!]" not in lines(), LIMIT, "recovery")

        assert agent.stop() == 0
        for leak in ("first-password", "second-password", "third-password", "Traceback"):
            assert leak not in agent.log
