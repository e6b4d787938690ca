"""The five backends behind one face, so that one set of tests can run against all."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures.servers.azurite import Azurite
from fixtures.servers.gcs import Gcs
from fixtures.servers.process import Server
from fixtures.servers.samba import Samba
from fixtures.servers.seaweedfs import SeaweedFs
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings import model

__all__ = ["KINDS", "SERVERS", "Backend", "azure_settings", "gcs_settings", "s3_settings"]
__all__ += ["smb_settings"]

KINDS = ("file", "smb", "s3", "azureblob", "gcpbucket")
SERVERS = KINDS[1:]


def smb_settings(server: Samba, **changes: Any) -> model.SmbRepository:
    """Settings that work, with `changes`."""
    given = {
        "server": server.host,
        "port": server.port,
        "share": server.share,
        "user": server.user,
        "password": server.password,
    }
    return model.SmbRepository(**(given | changes))


def s3_settings(server: SeaweedFs, **changes: Any) -> model.S3Repository:
    """Settings that work, with `changes`."""
    given = {
        "bucket": server.bucket,
        "endpoint": server.endpoint,
        "access_key": server.access_key,
        "secret_access_key": server.secret_key,
        "path_style": True,
    }
    return model.S3Repository(**(given | changes))


def azure_settings(server: Azurite, **changes: Any) -> model.AzureBlobRepository:
    """Settings that work, with `changes`."""
    given = {
        "account": server.account,
        "access_key": server.access_key,
        "container": server.container,
        "endpoint": server.endpoint,
    }
    return model.AzureBlobRepository(**(given | changes))


def gcs_settings(server: Gcs, **changes: Any) -> model.GcpBucketRepository:
    """Settings that work, with `changes`."""
    given = {
        "bucket": server.bucket,
        "project": server.project,
        "account_key": server.account_key,
        "endpoint": server.endpoint,
    }
    return model.GcpBucketRepository(**(given | changes))


@dataclass
class Backend:
    """One backend: how to get settings for it, and the server if there is one."""

    kind: str
    settings: Callable[..., model.Repository]
    server: Server | None
    scratch: Path
    system: str = ""

    def __post_init__(self) -> None:
        self.system = f"System-{secrets.token_hex(4)}"  # apart from other tests

    def connect(self, folder: str | None = None, **changes: Any) -> Repository:
        """A connector that is not opened yet; `changes` are changed settings."""
        return connect(
            self.settings(**changes), folder or self.system, scratch=self.scratch, ca_bundle=None
        )
