"""The settings as the rest of the agent sees them: frozen, checked, secrets starred in every repr.

One class per subject. Those of connectors are read by `properties.build`; the others are made of
values that were read already (`load`), and the string after a field tells its purpose, its unit and
why the default is what it is.
"""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from harmony_agent.settings import values
from harmony_agent.settings.properties import prop
from harmony_agent.settings.secret import SecretBytes, SecretStr

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


def _root() -> Any:
    return prop(
        values.relative_root,
        "rootPath",
        default=PurePosixPath(),
        meaning="folder below the share, bucket or container that holds all systems; else its top",
    )


def _ca_bundle() -> Any:
    return prop(
        Path,
        "caBundle",
        default=None,
        meaning="path of a PEM file with further certificate authorities",
    )


def _account_key(text: str) -> SecretStr:
    try:
        key = json.loads(text)
    except ValueError:
        key = None
    if not isinstance(key, dict):
        raise ValueError("is not JSON; paste the service account's key file as it is")
    missing = [name for name in ("client_email", "private_key", "token_uri") if name not in key]
    if missing:
        raise ValueError(f"is not a service account's key: it lacks {', '.join(missing)}")
    return SecretStr(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRepository:
    """A mounted folder; `root` is its absolute path."""

    root: PurePosixPath = prop(
        values.absolute_root,
        "rootPath",
        meaning="the absolute path of a folder that is mounted into this container",
    )
    type: Literal["file"] = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmbRepository:
    """An SMB 3 share; upstream's `sharePath: //server/share[/folder]` gives server, share, root."""

    server: str = prop(str, meaning="the server's name or address")
    port: int = prop(values.port, default=445, meaning="a TCP port; 445 is the protocol's own")
    share: str = prop(str, meaning="the share's name")
    user: str = prop(str, "userName", "user", meaning="the account's name")
    password: SecretStr = prop(
        SecretStr, "userPassword", "password", meaning="the account's password"
    )
    domain: str | None = prop(
        str, default=None, meaning="the account's domain, if it is not the server's own"
    )
    encrypt: bool = prop(
        values.switch, default=True, meaning="on (SMB 3 encryption is asked for) or off"
    )
    root: PurePosixPath = _root()
    type: Literal["smb"] = "smb"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Repository:
    """A bucket of Amazon S3 or of a compatible server."""

    bucket: str = prop(str, "bucket", "bucketName", meaning="the bucket's name")
    region: str | None = prop(
        str, default=None, meaning="the bucket's region, such as eu-central-1"
    )
    access_key: str | None = prop(
        str,
        "accessKey",
        "accessKeyId",
        default=None,
        meaning="the access key's id; without it the environment's own credentials are used",
    )
    secret_access_key: SecretStr | None = prop(
        SecretStr,
        "secretAccessKey",
        "secretKey",
        default=None,
        meaning="the secret that belongs to accessKey",
    )
    endpoint: str | None = prop(
        values.url,
        "endpoint",
        "endpointUrl",
        default=None,
        meaning="URL of a compatible server; without it Amazon's for `region` and `protocol`",
    )
    protocol: Literal["https", "http"] = prop(
        values.one_of("https", "http"), default="https", meaning="HTTPS or HTTP"
    )
    path_style: bool = prop(
        values.switch,
        "pathStyle",
        "pathStyleAccess",
        "enablePathStyleAccess",
        default=False,
        meaning="on for servers that want the bucket in the path, not in the host name",
    )
    encryption: Literal["none", "sse-s3", "sse-kms"] = prop(
        values.one_of("none", "sse-s3", "sse-kms"),
        "serverSideEncryption",
        "encryption",
        default="none",
        meaning="none, SSE-S3 or SSE-KMS",
    )
    kms_key: str | None = prop(
        str,
        "kmsKey",
        "kmsKeyId",
        default=None,
        meaning="the key's ARN or id, with SSE-KMS",
    )
    ca_bundle: Path | None = _ca_bundle()
    root: PurePosixPath = _root()
    type: Literal["s3"] = "s3"

    def __post_init__(self) -> None:
        if (self.access_key is None) != (self.secret_access_key is None):
            raise ValueError("accessKey and secretAccessKey must be given together, or neither")


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureBlobRepository:
    """A container of Azure Blob Storage."""

    account: str = prop(
        str, "storageAccountName", "accountName", meaning="the storage account's name"
    )
    access_key: SecretStr | None = prop(
        SecretStr,
        "accessKey",
        "accountKey",
        default=None,
        meaning="the account's key; without it the environment's own identity is used",
    )
    container: str = prop(str, "container", "containerName", meaning="the container's name")
    endpoint: str | None = prop(
        values.url, default=None, meaning="URL of the account, for emulators and private clouds"
    )
    endpoint_suffix: str = prop(
        str,
        "endpointSuffix",
        default="core.windows.net",
        meaning="the cloud's suffix; core.windows.net unless it is a sovereign cloud",
    )
    ca_bundle: Path | None = _ca_bundle()
    root: PurePosixPath = _root()
    type: Literal["azureblob"] = "azureblob"


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpBucketRepository:
    """A bucket of Google Cloud Storage."""

    bucket: str = prop(str, "bucketName", "bucket", meaning="the bucket's name")
    project: str | None = prop(
        str, "projectId", "project", default=None, meaning="the project's id"
    )
    account_key: SecretStr | None = prop(
        _account_key,
        "googleAccountKey",
        default=None,
        meaning="the service account's key file as JSON text; without it the environment's own "
        "identity",
    )
    endpoint: str | None = prop(
        values.url,
        default=None,
        meaning="URL in place of Google's; with it and without a key, requests are anonymous",
    )
    ca_bundle: Path | None = _ca_bundle()
    root: PurePosixPath = _root()
    type: Literal["gcpbucket"] = "gcpbucket"


Repository = (
    FileRepository | SmbRepository | S3Repository | AzureBlobRepository | GcpBucketRepository
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplunkLogSystem:
    """Splunk: HTTP Event Collector to deliver, management port to fetch back."""

    url: str = prop(
        values.url,
        meaning="URL of the HTTP Event Collector, such as https://splunk.example.com:8088",
    )
    token: SecretStr = prop(SecretStr, meaning="the token of the HTTP Event Collector")
    host: str | None = prop(
        str,
        default=None,
        meaning="`host` of the events; the node's name if not given. `%hostname%` is the node's "
        "name too",
    )
    index: str | None = prop(
        str, default=None, meaning="index to write to; without it the token's default"
    )
    source: str = prop(str, default="harmony", meaning="`source` of the events")
    sourcetype: str = prop(str, default="cleo:harmony:event", meaning="`sourcetype` of the events")
    search_url: str | None = prop(
        values.url,
        "searchUrl",
        default=None,
        meaning="URL of the management port, such as https://splunk.example.com:8089, for "
        "retrieval",
    )
    search_token: SecretStr | None = prop(
        SecretStr,
        "searchToken",
        default=None,
        meaning="an authentication token whose role may search the index; a HEC token does not "
        "work here",
    )
    ca_bundle: Path | None = _ca_bundle()
    client_certificate: Path | None = prop(
        Path,
        "clientCertificate",
        default=None,
        meaning="path of a PEM file with certificate and key for mutual TLS",
    )
    type: Literal["splunk"] = "splunk"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatadogLogSystem:
    """Datadog logs: intake v2 to deliver, search v2 to fetch back."""

    api_key: SecretStr = prop(SecretStr, "apiKey", meaning="the organization's API key")
    app_key: SecretStr | None = prop(
        SecretStr,
        "appKey",
        "applicationKey",
        default=None,
        meaning="an application key with logs_read_data; needed for retrieval only",
    )
    site: str = prop(
        str, default="datadoghq.com", meaning="the Datadog site, such as us3.datadoghq.com"
    )
    host: str | None = prop(
        str,
        default=None,
        meaning="`hostname` of the events; the node's name if not given. `%hostname%` is that "
        "name too",
    )
    index: str | None = prop(
        str,
        default=None,
        meaning="index to search; Datadog's own filters decide where events are written",
    )
    batch_count: int = prop(
        values.count,
        "batchCount",
        default=1000,
        meaning="most entries of one request; above the intake's limit of 1,000 it is 1,000",
    )
    tags: tuple[str, ...] = prop(
        values.comma_list,
        default=(),
        meaning="further tags, comma-separated, such as env:prod,team:edi",
    )
    endpoint: str | None = prop(
        values.url, default=None, meaning="URL in place of https://http-intake.logs.<site>"
    )
    search_url: str | None = prop(
        values.url, "searchUrl", default=None, meaning="URL in place of https://api.<site>"
    )
    ca_bundle: Path | None = _ca_bundle()
    type: Literal["datadog"] = "datadog"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLogSystem:
    """The embedded store in the state directory, for its own node."""

    max_age_seconds: float = prop(
        values.duration,
        "maxAge",
        default=30 * 86400.0,  # Harmony's own event store purges after 30 days
        meaning="how long events are kept, such as 30d",
    )
    max_bytes: int = prop(
        values.size,
        "maxSize",
        default=512 * 1024 * 1024,
        meaning="how large the store may grow, such as 512Mi",
    )
    type: Literal["local"] = "local"


LogSystem = SplunkLogSystem | DatadogLogSystem | LocalLogSystem


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseSettings:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """Where the administrator is mailed, and through which server."""

    administrator: str | None = None
    sender: str | None = None
    smtp_url: SecretStr | None = None
    """`smtp://`, `smtp+starttls://`, `smtps://` `[user:password@]host[:port]`."""
    time_zone: str | None = None
    """The administrator's, by its IANA name; times in mails stand in UTC and in this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """What is synchronized and how often."""

    poll_interval: float = 5.0
    """Seconds between looks at the change markers: one small request each."""
    list_interval: float = 300.0
    """Seconds between full listings, which find what foreign writers did."""
    max_delete: float = 0.10
    """Share of files (at least 20) beyond which deletes are held."""
    config_extra: tuple[str, ...] = ()
    runtime_extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the agent was told, checked."""

    system: str
    host: str
    home: Path
    state_dir: Path
    signal_dir: Path
    secrets_dir: Path
    bind: tuple[str, int] | None = None
    """Host and port; None: `[::]:8090`, else `0.0.0.0:8090`."""
    config_repository: Repository | None
    """None only if nothing that needs it is switched on and its secret is missing."""
    runtime_repository: Repository | None
    log_system: LogSystem
    license: LicenseSettings | None
    """None: the license check is switched off."""
    mail: MailSettings
    sync: SyncSettings
    config_sync: bool = True
    runtime_mirror: bool = True
    log_stream: bool = True
    parked_adoption: float = 3600.0
    """Seconds that a node must have been away before another delivers its parked log events."""
    drain_timeout: float = 25.0
    """Seconds; leaves 5 of Kubernetes' default 30 for the process to end."""
    signal_process: str | None = None
    api_token: SecretStr | None = None
    ca_bundle: Path | None = None
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    time_zone: str | None = None
    """Harmony's `TZ`: its log carries local times without a zone. None: the process's own."""
