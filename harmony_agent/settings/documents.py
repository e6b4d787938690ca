"""Upstream's YAML documents become models; every mistake with its key and what would be right."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError

from harmony_agent.settings import model
from harmony_agent.settings.report import Report

__all__ = ["read_log_system", "read_repository", "read_system_settings"]

M = TypeVar("M", bound=BaseModel)

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
_PLACEHOLDER: Final = re.compile(r"<[\w -]+>")
_STILL_PLACEHOLDER: Final = "still holds the example's placeholder"
_VALUE_ERROR: Final = "Value error, "


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
    elif root and "root" in chosen.model_fields:
        # Upstream writes it beside connectorProperties for all types but `file`.
        given.setdefault("rootPath", ("rootPath", root))
    return _validate(given, chosen, source, report)


def _by_canonical_name(
    properties: Mapping[str, Any], chosen: type[BaseModel], source: str, report: Report
) -> dict[str, tuple[str, Any]]:
    """Canonical name -> (key as written, value), for the properties that have a value."""
    names = _spellings(chosen)
    given: dict[str, tuple[str, Any]] = {}
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


def _spellings(chosen: type[BaseModel]) -> dict[str, str]:
    """Every accepted spelling in lower case -> the canonical name, which validation takes."""
    spellings: dict[str, str] = {}
    for name, field in chosen.model_fields.items():
        if name == "type":
            continue
        alias = field.validation_alias
        choices = [str(c) for c in alias.choices] if isinstance(alias, AliasChoices) else []
        for spelling in (*choices, name):
            spellings[spelling.lower().replace("_", "")] = choices[0] if choices else name
    if chosen is model.SmbRepository:
        spellings["sharepath"] = "sharePath"  # split into server, share and folder by the model
    return spellings


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


def _validate(
    given: Mapping[str, tuple[str, Any]], chosen: type[M], source: str, report: Report
) -> M | None:
    reported = {name for name, (_, value) in given.items() if value is None}
    try:
        found = chosen.model_validate({n: v for n, (_, v) in given.items() if n not in reported})
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_context=False, include_url=False):
            name = str(problem["loc"][0]) if problem["loc"] else ""
            if name in reported:
                continue
            place = given[name][0] if name in given else f"connectorProperties.{name}".rstrip(".")
            _report_problem(problem["type"], problem["msg"], name, place, chosen, source, report)
        return None
    return None if reported else found


def _report_problem(
    kind: str,
    message: str,
    name: str,
    place: str,
    chosen: type[BaseModel],
    source: str,
    report: Report,
) -> None:
    right = _description(chosen, name)
    if name in ("server", "share") and chosen is model.SmbRepository:
        place, right = "connectorProperties.sharePath", "it should look like //server/share"
    if kind == "missing":
        report.mistake(source, place, "is missing", right)
    elif message.startswith(_VALUE_ERROR):
        words = message.removeprefix(_VALUE_ERROR)
        report.mistake(source, place, "is not usable", f"it {words}" if name else words)
    else:
        report.mistake(source, place, "is not usable", right)


def _description(chosen: type[BaseModel], name: str) -> str:
    for field_name, field in chosen.model_fields.items():
        alias = field.validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [field_name]
        if name in names and field.description:
            text = " ".join(field.description.split())
            if text[1].islower() or text[1] == " ":  # not an abbreviation
                text = text[0].lower() + text[1:]
            return "it should be " + text.rstrip(".")
    return ""
