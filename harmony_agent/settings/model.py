"""The settings as the rest of the agent sees them: frozen, checked, secrets starred in every repr.

One class per subject. The string after a field tells its purpose, its unit and why the default is
what it is.
"""

from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretBytes, SecretStr

__all__ = [
    "AzureBlobRepository",
    "DatadogLogSystem",
    "FileRepository",
    "GcpBucketRepository",
    "LicenseSettings",
    "LocalLogSystem",
    "LogSystem",
    "MailSettings",
    "Repository",
    "S3Repository",
    "Settings",
    "SmbRepository",
    "SplunkLogSystem",
    "SyncSettings",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Repository(_Frozen):
    root: PurePosixPath = PurePosixPath()
    """Folder below the share, bucket or container that holds all systems; empty: its top."""


class FileRepository(_Repository):
    """A mounted folder; `root` is its absolute path."""

    type: Literal["file"] = "file"


class SmbRepository(_Repository):
    """An SMB 3 share."""

    type: Literal["smb"] = "smb"
    server: str
    port: int = 445
    share: str
    user: str
    password: SecretStr
    domain: str | None = None
    encrypt: bool = True
    """SMB 3 encryption is asked for; servers older than SMB 3 are refused with it."""


class S3Repository(_Repository):
    """A bucket of Amazon S3 or of a compatible server."""

    type: Literal["s3"] = "s3"
    bucket: str
    region: str | None = None
    access_key: str | None = None
    """None: the environment's own credentials (IRSA, instance profile)."""
    secret_access_key: SecretStr | None = None
    endpoint: str | None = None
    """URL of a compatible server; None: Amazon's for `region` and `protocol`."""
    protocol: Literal["https", "http"] = "https"
    path_style: bool = False
    encryption: Literal["none", "sse-s3", "sse-kms"] = "none"
    kms_key: str | None = None
    ca_bundle: Path | None = None


class AzureBlobRepository(_Repository):
    """A container of Azure Blob Storage."""

    type: Literal["azureblob"] = "azureblob"
    account: str
    access_key: SecretStr | None = None
    """None: the environment's own identity (workload identity, managed identity)."""
    container: str
    endpoint: str | None = None
    """URL of the account, for emulators and private clouds; None: from the suffix."""
    endpoint_suffix: str = "core.windows.net"
    ca_bundle: Path | None = None


class GcpBucketRepository(_Repository):
    """A bucket of Google Cloud Storage."""

    type: Literal["gcpbucket"] = "gcpbucket"
    bucket: str
    project: str | None = None
    account_key: SecretStr | None = None
    """JSON text of a service account's key; None: the environment's own identity."""
    endpoint: str | None = None
    ca_bundle: Path | None = None


Repository = (
    FileRepository | SmbRepository | S3Repository | AzureBlobRepository | GcpBucketRepository
)


class SplunkLogSystem(_Frozen):
    """Splunk: HTTP Event Collector to deliver, management port to fetch back."""

    type: Literal["splunk"] = "splunk"
    url: str
    """Scheme, host and port of HEC; a path to the collector is cut off when read."""
    token: SecretStr
    host: str | None = None
    """`host` of the events; None: the node's name. Macros are resolved when settings are read."""
    index: str | None = None
    source: str = "harmony"
    sourcetype: str = "cleo:harmony:event"
    search_url: str | None = None
    """Management port; None: retrieval is not configured."""
    search_token: SecretStr | None = None
    ca_bundle: Path | None = None
    client_certificate: Path | None = None
    """PEM file with certificate and key for mutual TLS."""


class DatadogLogSystem(_Frozen):
    """Datadog logs: intake v2 to deliver, search v2 to fetch back."""

    type: Literal["datadog"] = "datadog"
    api_key: SecretStr
    app_key: SecretStr | None = None
    """Needed for retrieval only."""
    site: str = "datadoghq.com"
    host: str | None = None
    index: str | None = None
    batch_count: int = 1000
    """Most entries of one request; upstream's 10,000 exceeds the intake's limit of 1,000."""
    tags: tuple[str, ...] = ()
    endpoint: str | None = None
    """URL in place of https://http-intake.logs.<site>; for proxies and stand-ins."""
    search_url: str | None = None
    """URL in place of https://api.<site>."""
    ca_bundle: Path | None = None


class LocalLogSystem(_Frozen):
    """The embedded store in the state directory, for its own node."""

    type: Literal["local"] = "local"
    max_age_seconds: float = 30 * 86400.0
    """Harmony's own event store purges after 30 days as well."""
    max_bytes: int = 512 * 1024 * 1024


LogSystem = SplunkLogSystem | DatadogLogSystem | LocalLogSystem


class LicenseSettings(_Frozen):
    """The enterprise license and how it is verified."""

    key: SecretBytes
    """`license_key.txt`, byte for byte."""
    verification_code: SecretStr
    serial: str | None = None
    """`AA1234-ZZ5678`; None: `null` is sent and the service's answer is taken."""
    url: str = "https://license.cleo.com"
    ticket_url: str = "https://it-ticket.cleo.com"
    grace_period: float = 4 * 86400.0
    """Seconds; may be shortened, never lengthened."""
    verify_interval: float = 86400.0
    verify_retry: float = 900.0


class MailSettings(_Frozen):
    """Where the administrator is mailed, and through which server."""

    administrator: str | None = None
    sender: str | None = None
    smtp_url: SecretStr | None = None
    """`smtp://`, `smtp+starttls://`, `smtps://` `[user:password@]host[:port]`."""


class SyncSettings(_Frozen):
    """What is synchronized and how often."""

    poll_interval: float = 5.0
    """Seconds between looks at the change markers: one small request each."""
    list_interval: float = 300.0
    """Seconds between full listings, which find what foreign writers did."""
    max_delete: float = 0.10
    """Share of files (at least 20) beyond which deletes are held."""
    config_extra: tuple[str, ...] = ()
    runtime_extra: tuple[str, ...] = ()


class Settings(_Frozen):
    """Everything the agent was told, checked."""

    system: str
    host: str
    home: Path
    state_dir: Path
    signal_dir: Path
    secrets_dir: Path
    bind: tuple[str, int] | None = None
    """Host and port; None: `[::]:8090`, else `0.0.0.0:8090`."""
    config_repository: Repository
    runtime_repository: Repository
    log_system: LogSystem
    license: LicenseSettings
    mail: MailSettings
    sync: SyncSettings
    config_sync: bool = True
    runtime_mirror: bool = True
    log_stream: bool = True
    license_check: bool = True
    drain_timeout: float = 25.0
    """Seconds; leaves 5 of Kubernetes' default 30 for the process to end."""
    signal_process: str | None = None
    api_token: SecretStr | None = None
    ca_bundle: Path | None = None
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    time_zone: str | None = None
    """Harmony's `TZ`: its log carries local times without a zone. None: the process's own."""
