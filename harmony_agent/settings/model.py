"""The settings as the rest of the agent sees them: frozen, checked, secrets starred in every repr.

One class per subject. The string after a field tells its purpose, its unit and why the default is
what it is.
"""

import json
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretBytes,
    SecretStr,
    model_validator,
)

from harmony_agent.settings import values

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
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # an input may be a secret
    )


def _alias(*names: str, default: Any = ...) -> Any:
    """A property that upstream's YAML spells like one of `names` (in any case)."""
    return Field(default=default, validation_alias=AliasChoices(*names))


def _account_key(text: SecretStr) -> SecretStr:
    try:
        key = json.loads(text.get_secret_value())
    except ValueError:
        key = None
    if not isinstance(key, dict):
        raise ValueError("is not JSON; paste the service account's key file as it is")
    missing = [name for name in ("client_email", "private_key", "token_uri") if name not in key]
    if missing:
        raise ValueError(f"is not a service account's key: it lacks {', '.join(missing)}")
    return text


Switch = Annotated[bool, BeforeValidator(values.switch)]
Url = Annotated[str, AfterValidator(values.url)]
HttpsUrl = Annotated[str, AfterValidator(values.https_url)]
LowerCase = BeforeValidator(str.lower)
Duration = Annotated[float, BeforeValidator(values.duration)]
Size = Annotated[int, BeforeValidator(values.size)]
CommaList = Annotated[tuple[str, ...], BeforeValidator(values.comma_list)]


class _Repository(_Frozen):
    root: PurePosixPath = _alias("rootPath", default=PurePosixPath())
    """Folder below the share, bucket or container that holds all systems; empty: its top."""

    @model_validator(mode="after")
    def _root_is_clean(self) -> "_Repository":
        if ".." in self.root.parts:
            raise ValueError("rootPath must not contain '..'")
        return self


class FileRepository(_Repository):
    """A mounted folder; `root` is its absolute path."""

    type: Literal["file"] = "file"
    root: PurePosixPath = _alias("rootPath")
    """The absolute path of a folder that is mounted into this container."""

    @model_validator(mode="after")
    def _root_is_absolute(self) -> "FileRepository":
        if not self.root.is_absolute():
            raise ValueError("rootPath must be an absolute path such as /shared-config")
        return self


class SmbRepository(_Repository):
    """An SMB 3 share, from upstream's `sharePath: //server/share[/folder]`."""

    type: Literal["smb"] = "smb"
    server: str
    """The server's name or address."""
    port: int = Field(default=445, ge=1, le=65535)
    """A TCP port, 1 to 65535; 445 is the protocol's own."""
    share: str
    """The share's name."""
    user: str = _alias("userName", "user")
    """The account's name."""
    password: SecretStr = _alias("userPassword", "password")
    """The account's password."""
    domain: str | None = None
    """The account's domain, if it is not the server's own."""
    encrypt: Switch = True
    """`on` (SMB 3 encryption is asked for) or `off`."""

    @model_validator(mode="before")
    @classmethod
    def _split_share_path(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "sharePath" not in data:
            return data
        rest = {key: value for key, value in data.items() if key != "sharePath"}
        parts = [part for part in str(data["sharePath"]).replace("\\", "/").split("/") if part]
        if len(parts) < 2 or not str(data["sharePath"]).startswith(("//", "\\\\")):
            raise ValueError("sharePath must look like //server/share or //server/share/folder")
        server, share, *folders = parts
        host, colon, port = server.rpartition(":")
        if colon and port.isdigit():
            server = host
            rest.setdefault("port", port)
        below = PurePosixPath(*folders) / str(rest.pop("rootPath", "")).strip("/")
        return {**rest, "server": server, "share": share, "rootPath": below}


class S3Repository(_Repository):
    """A bucket of Amazon S3 or of a compatible server."""

    type: Literal["s3"] = "s3"
    bucket: str = _alias("bucket", "bucketName")
    """The bucket's name."""
    region: str | None = None
    """The bucket's region, such as eu-central-1."""
    access_key: str | None = _alias("accessKey", "accessKeyId", default=None)
    """The access key's id; without it the environment's own credentials are used."""
    secret_access_key: SecretStr | None = _alias("secretAccessKey", "secretKey", default=None)
    """The secret that belongs to accessKey."""
    endpoint: Url | None = _alias("endpoint", "endpointUrl", default=None)
    """URL of a compatible server; without it Amazon's for `region` and `protocol`."""
    protocol: Annotated[Literal["https", "http"], LowerCase] = "https"
    """HTTPS or HTTP."""
    path_style: Switch = _alias(
        "pathStyle", "pathStyleAccess", "enablePathStyleAccess", default=False
    )
    """`on` for servers that want the bucket in the path, not in the host name."""
    encryption: Annotated[Literal["none", "sse-s3", "sse-kms"], LowerCase] = _alias(
        "serverSideEncryption", "encryption", default="none"
    )
    """none, SSE-S3 or SSE-KMS."""
    kms_key: str | None = _alias("kmsKey", "kmsKeyId", default=None)
    """The key's ARN or id, with SSE-KMS."""
    ca_bundle: Path | None = _alias("caBundle", default=None)
    """Path of a PEM file with further certificate authorities."""

    @model_validator(mode="after")
    def _keys_come_in_pairs(self) -> "S3Repository":
        if (self.access_key is None) != (self.secret_access_key is None):
            raise ValueError("accessKey and secretAccessKey must be given together, or neither")
        return self


class AzureBlobRepository(_Repository):
    """A container of Azure Blob Storage."""

    type: Literal["azureblob"] = "azureblob"
    account: str = _alias("storageAccountName", "accountName")
    """The storage account's name."""
    access_key: SecretStr | None = _alias("accessKey", "accountKey", default=None)
    """The account's key; without it the environment's own identity is used."""
    container: str = _alias("container", "containerName")
    """The container's name."""
    endpoint: Url | None = None
    """URL of the account, for emulators and private clouds."""
    endpoint_suffix: str = _alias("endpointSuffix", default="core.windows.net")
    """The cloud's suffix; core.windows.net unless it is a sovereign cloud."""
    ca_bundle: Path | None = _alias("caBundle", default=None)
    """Path of a PEM file with further certificate authorities."""


class GcpBucketRepository(_Repository):
    """A bucket of Google Cloud Storage."""

    type: Literal["gcpbucket"] = "gcpbucket"
    bucket: str = _alias("bucketName", "bucket")
    """The bucket's name."""
    project: str | None = _alias("projectId", "project", default=None)
    """The project's id."""
    account_key: Annotated[SecretStr, AfterValidator(_account_key)] | None = _alias(
        "googleAccountKey", default=None
    )
    """The service account's key file as JSON text; without it the environment's own identity."""
    endpoint: Url | None = None
    """URL in place of Google's; with it and without a key, requests are anonymous."""
    ca_bundle: Path | None = _alias("caBundle", default=None)
    """Path of a PEM file with further certificate authorities."""


Repository = (
    FileRepository | SmbRepository | S3Repository | AzureBlobRepository | GcpBucketRepository
)


class SplunkLogSystem(_Frozen):
    """Splunk: HTTP Event Collector to deliver, management port to fetch back."""

    type: Literal["splunk"] = "splunk"
    url: Url
    """URL of the HTTP Event Collector, such as https://splunk.example.com:8088."""
    token: SecretStr
    """The token of the HTTP Event Collector."""
    host: str | None = None
    """`host` of the events; the node's name if not given. `%hostname%` is the node's name too."""
    index: str | None = None
    """Index to write to; without it the token's default."""
    source: str = "harmony"
    """`source` of the events."""
    sourcetype: str = "cleo:harmony:event"
    """`sourcetype` of the events."""
    search_url: Url | None = _alias("searchUrl", default=None)
    """URL of the management port, such as https://splunk.example.com:8089, for retrieval."""
    search_token: SecretStr | None = _alias("searchToken", default=None)
    """An authentication token whose role may search the index; a HEC token does not work here."""
    ca_bundle: Path | None = _alias("caBundle", default=None)
    """Path of a PEM file with further certificate authorities."""
    client_certificate: Path | None = _alias("clientCertificate", default=None)
    """Path of a PEM file with certificate and key for mutual TLS."""


class DatadogLogSystem(_Frozen):
    """Datadog logs: intake v2 to deliver, search v2 to fetch back."""

    type: Literal["datadog"] = "datadog"
    api_key: SecretStr = _alias("apiKey")
    """The organization's API key."""
    app_key: SecretStr | None = _alias("appKey", "applicationKey", default=None)
    """An application key with logs_read_data; needed for retrieval only."""
    site: str = "datadoghq.com"
    """The Datadog site, such as us3.datadoghq.com."""
    host: str | None = None
    """`hostname` of the events; the node's name if not given. `%hostname%` is that name too."""
    index: str | None = None
    """Index to search; Datadog's own filters decide where events are written."""
    batch_count: Annotated[int, Field(ge=1)] = _alias("batchCount", default=1000)
    """Most entries of one request; above the intake's limit of 1,000 it is 1,000."""
    tags: CommaList = ()
    """Further tags, comma-separated, such as env:prod,team:edi."""
    endpoint: Url | None = None
    """URL in place of https://http-intake.logs.<site>."""
    search_url: Url | None = _alias("searchUrl", default=None)
    """URL in place of https://api.<site>."""
    ca_bundle: Path | None = _alias("caBundle", default=None)
    """Path of a PEM file with further certificate authorities."""


class LocalLogSystem(_Frozen):
    """The embedded store in the state directory, for its own node."""

    type: Literal["local"] = "local"
    max_age_seconds: Duration = _alias("maxAge", default=30 * 86400.0)
    """How long events are kept, such as 30d; Harmony's own event store purges after 30 days."""
    max_bytes: Size = _alias("maxSize", default=512 * 1024 * 1024)
    """How large the store may grow, such as 512Mi."""


LogSystem = SplunkLogSystem | DatadogLogSystem | LocalLogSystem


class LicenseSettings(_Frozen):
    """The enterprise license and how it is verified."""

    key: SecretBytes
    """`license_key.txt`, byte for byte."""
    verification_code: SecretStr
    serial: str | None = None
    """`AA1234-ZZ5678`; None: `null` is sent and the service's answer is taken."""
    url: HttpsUrl = "https://license.cleo.com"
    ticket_url: HttpsUrl = "https://it-ticket.cleo.com"
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
    time_zone: str | None = None
    """The administrator's, by its IANA name; times in mails stand in UTC and in this one."""


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
