"""Repositories on real servers for the sync benchmarks: as settings for us, as a remote for rclone.

rclone is Debian's package (`apt-get install rclone`); the tests do not need it.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

from fixtures.servers.azurite import Azurite
from fixtures.servers.gcs import Gcs
from fixtures.servers.samba import Samba
from fixtures.servers.seaweedfs import SeaweedFs
from harmony_agent.settings import model
from harmony_agent.settings.properties import build
from tests.integration.repositories.backends import (
    azure_settings,
    gcs_settings,
    s3_settings,
    smb_settings,
)

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """A repository: our settings, and rclone's configuration of the remote `target`.

    `place` is what stands between the remote's name and a folder; `flags` are those with which
    rclone was fastest here (benchmarks/sync_speed.py says how they were found).
    """

    settings: model.Repository
    remote: Mapping[str, str] = field(default_factory=dict)
    place: str = ""
    flags: tuple[str, ...] = ()

    @property
    def rclone_environment(self) -> dict[str, str]:
        """The variables that make rclone know the remote; empty if rclone can't reach it."""
        return {f"RCLONE_CONFIG_TARGET_{name.upper()}": text for name, text in self.remote.items()}

    def rclone_path(self, folder: str) -> str:
        """How rclone names `folder`, which is relative to the repository's root."""
        return f"target:{self.place}{folder}"


@contextmanager
def _file(root: Path) -> Iterator[Target]:
    volume = root / "volume"
    volume.mkdir()
    yield Target(
        build(model.FileRepository, {"root": str(volume)}),
        {"type": "local"},
        f"{volume}/",
        ("--transfers=16", "--checkers=16", "--ignore-checksum"),
    )


@contextmanager
def _smb(root: Path) -> Iterator[Target]:
    with Samba(root / "samba") as server:
        obscured = subprocess.run(
            ["rclone", "obscure", server.password], check=True, capture_output=True, text=True
        )
        yield Target(
            smb_settings(server),
            {
                "type": "smb",
                "host": server.host,
                "port": str(server.port),
                "user": server.user,
                "pass": obscured.stdout.strip(),
            },
            f"{server.share}/",
            ("--transfers=8", "--checkers=8"),
        )


@contextmanager
def _s3(root: Path) -> Iterator[Target]:
    with SeaweedFs(root / "seaweedfs") as server:
        yield Target(
            s3_settings(server),
            {
                "type": "s3",
                "provider": "Other",
                "endpoint": server.endpoint,
                "access_key_id": server.access_key,
                "secret_access_key": server.secret_key,
                "no_check_bucket": "true",
                "no_head": "true",
                "no_head_object": "true",
                "disable_checksum": "true",
            },
            f"{server.bucket}/",
            ("--transfers=16", "--checkers=32", "--fast-list", "--use-server-modtime"),
        )


@contextmanager
def _azureblob(root: Path) -> Iterator[Target]:
    with Azurite(root / "azurite") as server:
        signature = generate_account_sas(
            server.account,
            server.access_key,
            ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True),
            datetime.now(UTC) + timedelta(days=1),
        )
        yield Target(
            azure_settings(server),
            {"type": "azureblob", "sas_url": f"{server.endpoint}?{signature}"},
            f"{server.container}/",
            ("--transfers=16", "--checkers=32", "--fast-list"),
        )


@contextmanager
def _gcpbucket(root: Path) -> Iterator[Target]:
    # Without a peer: rclone's uploads are of a form that the emulator does not take.
    with Gcs(root / "gcs", anonymous=False) as server:
        yield Target(gcs_settings(server))


TARGETS: Final[dict[str, Callable[[Path], AbstractContextManager[Target]]]] = {
    "file": _file,
    "smb": _smb,
    "s3": _s3,
    "azureblob": _azureblob,
    "gcpbucket": _gcpbucket,
}
"""A repository and its server by type, below a directory."""
