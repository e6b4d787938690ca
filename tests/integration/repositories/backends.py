"""The five backends behind one face, so that one set of tests can run against all."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fixtures.servers.azurite import Azurite
from fixtures.servers.gcs import Gcs
from fixtures.servers.process import Server
from fixtures.servers.samba import Samba
from fixtures.servers.seaweedfs import SeaweedFs
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings import model
from harmony_agent.settings.properties import build

__all__ = ["KINDS", "SERVERS", "Backend", "azure_settings", "gcs_settings", "s3_settings"]
__all__ += ["smb_settings"]

KINDS = ("file", "smb", "s3", "azureblob", "gcpbucket")
SERVERS = KINDS[1:]


def smb_settings(running: Samba, /, **changes: Any) -> model.SmbRepository:
    """Settings that work, with `changes`."""
    given = {
        "server": running.host,
        "port": running.port,
        "share": running.share,
        "user": running.user,
        "password": running.password,
    }
    return build(model.SmbRepository, given | changes)


def s3_settings(running: SeaweedFs, /, **changes: Any) -> model.S3Repository:
    """Settings that work, with `changes`."""
    given = {
        "bucket": running.bucket,
        "endpoint": running.endpoint,
        "access_key": running.access_key,
        "secret_access_key": running.secret_key,
        "path_style": True,
    }
    return build(model.S3Repository, given | changes)


def azure_settings(running: Azurite, /, **changes: Any) -> model.AzureBlobRepository:
    """Settings that work, with `changes`."""
    given = {
        "account": running.account,
        "access_key": running.access_key,
        "container": running.container,
        "endpoint": running.endpoint,
    }
    return build(model.AzureBlobRepository, given | changes)


def gcs_settings(running: Gcs, /, **changes: Any) -> model.GcpBucketRepository:
    """Settings that work, with `changes`."""
    given = {
        "bucket": running.bucket,
        "project": running.project,
        "account_key": running.account_key,
        "endpoint": running.endpoint,
    }
    return build(model.GcpBucketRepository, given | changes)


@dataclass
class Backend:
    """One backend: how to get settings for it, and the server if there is one."""

    kind: str
    settings: Callable[..., model.Repository]
    server: Server | None
    system: str = ""

    def __post_init__(self) -> None:
        self.system = f"System-{secrets.token_hex(4)}"  # apart from other tests

    def connect(self, folder: str | None = None, **changes: Any) -> Repository:
        """A connector that is not opened yet; `changes` are changed settings."""
        return connect(self.settings(**changes), folder or self.system, ca_bundle=None)
