"""Upstream's YAML documents become models; every mistake with its key and what would be right."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from harmony_agent.settings import model, values
from harmony_agent.settings.properties import Unusable, build, properties_of
from harmony_agent.settings.report import Report

__all__ = ["read_log_system", "read_repository", "read_system_settings"]

M = TypeVar("M")
Given = dict[str, tuple[str, Any]]  # canonical name -> (key as written, value)

_REPOSITORIES: Final[dict[str, type[model.Repository]]] = {
    "file": model.FileRepository,
    "smb": model.SmbRepository,
    "s3": model.S3Repository,
    "azureblob": model.AzureBlobRepository,
    "gcpbucket": model.GcpBucketRepository,
    "gcs": model.GcpBucketRepository,
}
_LOG_SYSTEMS: Final[dict[str, type[model.LogSystem]]] = {
    "splunk": model.SplunkLogSystem,
    "datadog": model.DatadogLogSystem,
    "local": model.LocalLogSystem,
}
# Properties of Harmony's own connectors that mean nothing to the agent: blobType (the agent always
# writes block blobs) and what every Cleo connector offers. Accepted in silence.
_HARMONYS_OWN: Final = frozenset(
    name.lower()
    for name in (
        "blobType", "commandRetries", "commandRetryDelay", "doNotSendZeroLengthFiles",
        "deleteReceivedZeroLengthFiles", "retrieveDirectorySort", "enableDebug", "pseudoFolders",
        "userMetadata", "markDirectories", "outboxSort", "logLevel",
    )
)  # fmt: skip
_TOP_LEVEL: Final = ("type", "rootPath", "connectorProperties", "advancedProperties")
_SHARE_PATH: Final = "sharePath"  # upstream's spelling of an SMB repository's place
_PLACEHOLDER: Final = re.compile(r"<[\w -]+>")
_STILL_PLACEHOLDER: Final = "still holds the example's placeholder"


def read_repository(
    document: Mapping[str, Any], source: str, report: Report
) -> model.Repository | None:
    """The repository that a `cleo-config-repo` or `cleo-runtime-repo` document describes."""
    return _read_connector(document, _REPOSITORIES, source, report)


def read_log_system(
    document: Mapping[str, Any], source: str, report: Report
) -> model.LogSystem | None:
    """The log system that a `cleo-log-system` document describes."""
    return _read_connector(document, _LOG_SYSTEMS, source, report)


def read_system_settings(document: Mapping[str, Any]) -> dict[str, str]:
    """`admin_email`, `from_email` and `smtp_url` as far as `cleo-system-settings` holds them.

    The rest of that document is Harmony's own and is not looked at.
    """
    orchestration = _dig(document, "options", "other", "orchestration")
    found = {
        "admin_email": orchestration.get("systemAdministratorEmailAddress"),
        "from_email": orchestration.get("systemFromEmailAddress"),
        "smtp_url": _smtp_proxy(_dig(document, "proxies").get("proxies")),
    }
    return {key: value for key, value in found.items() if isinstance(value, str) and value}


def _dig(document: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        inner = document.get(key)
        document = inner if isinstance(inner, Mapping) else {}
    return document


def _smtp_proxy(proxies: Any) -> str | None:
    for proxy in proxies if isinstance(proxies, list) else ():
        if isinstance(proxy, Mapping) and str(proxy.get("type", "")).lower() == "smtp":
            url = proxy.get("url")
            return url if isinstance(url, str) else None
    return None


def _read_connector(
    document: Mapping[str, Any], types: Mapping[str, type[M]], source: str, report: Report
) -> M | None:
    kind = document.get("type")
    chosen = types.get(kind.strip().lower()) if isinstance(kind, str) else None
    if chosen is None:
        names = ", ".join(types)
        wrong = "is missing" if not kind else f"{kind!r} is not known"
        report.mistake(source, "type", wrong, f"it must be one of {names}")
        return None
    for key in document:
        if key not in _TOP_LEVEL:
            _warn_unknown(source, "", key, _TOP_LEVEL, report)
    properties = document.get("connectorProperties") or {}
    if not isinstance(properties, Mapping):
        report.mistake(
            source, "connectorProperties", "is not a mapping", "it should hold `key: value` lines"
        )
        return None
    given = _by_canonical_name(properties, chosen, source, report)
    root = document.get("rootPath")
    if isinstance(root, str) and _PLACEHOLDER.fullmatch(root.strip()):
        report.mistake(source, "rootPath", _STILL_PLACEHOLDER, "put a folder or leave it out")
    elif root and any(one.name == "rootPath" for one in properties_of(chosen)):
        # Upstream writes it beside connectorProperties for all types but `file`.
        given.setdefault("rootPath", ("rootPath", root))
    if chosen is model.SmbRepository:
        _unfold_share_path(given, source, report)
    return _build(given, chosen, source, report)


def _by_canonical_name(
    properties: Mapping[str, Any], chosen: type[Any], source: str, report: Report
) -> Given:
    """The properties that have a value; a value of None was reported."""
    names = _spellings(chosen)
    given: Given = {}
    for key, value in properties.items():
        place = f"connectorProperties.{key}"
        canonical = names.get(key.lower().replace("_", "").replace("-", ""))
        if canonical is None:
            if key.lower() not in _HARMONYS_OWN:
                _warn_unknown(source, "connectorProperties.", key, list(names.values()), report)
        elif isinstance(value, str) and _PLACEHOLDER.fullmatch(value.strip()):
            report.mistake(source, place, _STILL_PLACEHOLDER, "put the real value")
            given[canonical] = (place, None)
        elif value not in (None, ""):
            given[canonical] = (place, value)
    return given


def _spellings(chosen: type[Any]) -> dict[str, str]:
    """Every accepted spelling in lower case -> the canonical name, which `build` takes."""
    spellings = {
        spelling.lower().replace("_", ""): one.name
        for one in properties_of(chosen)
        for spelling in (*one.names, one.field)
    }
    if chosen is model.SmbRepository:
        spellings[_SHARE_PATH.lower()] = _SHARE_PATH
    return spellings


def _unfold_share_path(given: Given, source: str, report: Report) -> None:
    """Put server, port, share and folder in the place of `sharePath`."""
    if _SHARE_PATH not in given:
        if "server" in given and "share" in given:
            return
        missing = f"connectorProperties.{_SHARE_PATH}"
        report.mistake(source, missing, "is missing", "it should look like //server/share")
        given[_SHARE_PATH] = (missing, None)
    place, path = given.pop(_SHARE_PATH)
    given["server"] = given["share"] = (place, None)  # reported, unless the path is usable
    if path is None:
        return
    try:
        server, port, share, folder = values.share_path(str(path))
    except ValueError as error:
        report.mistake(source, place, "is not usable", f"it {error}")
        return
    _, below = given.get("rootPath", ("", None))
    given["server"], given["share"] = (place, server), (place, share)
    if not isinstance(below, list | dict):  # which `build` refuses
        given["rootPath"] = (place, folder / str(below or "").strip("/"))
    if port is not None:
        given.setdefault("port", (place, port))


def _warn_unknown(
    source: str, prefix: str, key: str, known: "list[str] | tuple[str, ...]", report: Report
) -> None:
    lower = {name.lower(): name for name in known}
    close = get_close_matches(key.lower(), lower, n=1)
    hint = (
        f"did you mean {lower[close[0]]}?"
        if close
        else f"known are {', '.join(sorted(set(known)))}"
    )
    report.warning(source, prefix + key, "is not known to the agent and is ignored", hint)


def _build(given: Given, chosen: type[M], source: str, report: Report) -> M | None:
    reported = {name for name, (_, value) in given.items() if value is None}
    try:
        found = build(chosen, {name: value for name, (_, value) in given.items()})
    except Unusable as error:
        right = {one.name: f"it should be {one.meaning}" for one in properties_of(chosen)}
        for name, words in error.problems:
            place = given[name][0] if name in given else f"connectorProperties.{name}".rstrip(".")
            if words is not None:
                report.mistake(source, place, "is not usable", f"it {words}" if name else words)
            elif name not in reported:
                report.mistake(source, place, "is missing", right[name])
        return None
    return None if reported else found
