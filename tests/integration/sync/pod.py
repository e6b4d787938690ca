"""A pod whose real agent runs as a process, and its repository as somebody else sees it."""

import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from fixtures.demo_backends import secret
from fixtures.servers.azurite import Azurite
from fixtures.servers.gcs import Gcs
from fixtures.servers.process import Server
from fixtures.servers.samba import Samba
from fixtures.servers.seaweedfs import SeaweedFs
from tests.system.agent_process import AgentProcess, Layout

__all__ = ["CAPLESS", "HASTY", "azure_secret", "gcs_secret", "new_system", "pod", "s3_secret"]
__all__ += ["secret_of", "smb_secret", "start"]

HASTY = (sys.executable, "-m", "tests.integration.sync.hasty_agent")
CAPLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", *HASTY)
"""Root without its capabilities: a user like any other, whom modes do stop."""


def new_system() -> str:
    """A system's name, apart from other tests' on the same server."""
    return f"System-{secrets.token_hex(4)}"


def pod(folder: Path, repository: str | None, system: str, host: str = "node-1") -> Layout:
    """A pod below `folder`; `repository` is the secret of both repositories, None a `file` one
    below `folder`."""
    layout = Layout(folder, host, system)
    if repository is None:
        layout.write_secrets()
    else:
        layout.write_secrets(cleo_config_repo=repository, cleo_runtime_repo=repository)
    return layout


def start(layout: Layout, program: Sequence[str | Path] = HASTY, **environ: str) -> AgentProcess:
    """Start the pod's agent, with the jobs of the sync alone."""
    return AgentProcess(
        layout,
        program,
        **{
            "HARMONY_AGENT_LICENSE": "off",
            "HARMONY_AGENT_LOG_STREAM": "off",
            "HARMONY_AGENT_POLL_INTERVAL": "500ms",
            "HARMONY_AGENT_LIST_INTERVAL": "5s",
            **environ,
        },
    )


def s3_secret(server: SeaweedFs, key: str, secret_key: str) -> str:
    """The secret of an S3 repository that is used with this account."""
    return secret(
        "s3",
        bucket=server.bucket,
        region="us-east-1",
        endpoint=server.endpoint,
        pathStyle="on",
        accessKey=key,
        secretAccessKey=secret_key,
    )


def secret_of(server: Server) -> str:
    """The secret of a repository on this server, used with the account that it comes with."""
    match server:
        case Samba():
            return smb_secret(server, server.share, server.password)
        case SeaweedFs():
            return s3_secret(server, server.access_key, server.secret_key)
        case Azurite():
            return azure_secret(server, server.access_key)
        case Gcs():
            return gcs_secret(server, server.account_key)
    raise AssertionError(f"no repository is on a {type(server).__name__}")


def azure_secret(server: Azurite, key: str) -> str:
    """The secret of an Azure container that is used with this account key."""
    return secret(
        "AzureBlob",
        storageAccountName=server.account,
        accessKey=key,
        container=server.container,
        endpoint=server.endpoint,
    )


def gcs_secret(server: Gcs, key: str) -> str:
    """The secret of a Google bucket that is used with this account's key file."""
    return secret(
        "GCPBucket",
        bucketName=server.bucket,
        projectId=server.project,
        endpoint=server.endpoint,
        googleAccountKey="|\n    " + key,
    )


def smb_secret(server: Samba, share: str, password: str) -> str:
    """The secret of an SMB repository on this share."""
    return secret(
        "smb",
        sharePath=f"//{server.host}/{share}",
        port=server.port,
        userName=server.user,
        userPassword=password,
    )
