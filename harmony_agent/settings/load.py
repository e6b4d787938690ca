"""Reads everything the agent is told, checks all of it, and reports every mistake in one go."""

import dataclasses
import re
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from harmony_agent.core.redaction import SHORTEST_SECRET, conceal
from harmony_agent.settings import model
from harmony_agent.settings.documents import (
    read_log_system,
    read_repository,
    read_system_settings,
)
from harmony_agent.settings.report import Mistake, Report, SettingsError
from harmony_agent.settings.secret import SecretBytes, SecretStr
from harmony_agent.settings.secret_files import SecretFiles
from harmony_agent.settings.smtp_url import parse_smtp_url
from harmony_agent.settings.values import path_segment
from harmony_agent.settings.variables import read_environment
from harmony_agent.settings.yaml_text import parse_mapping

__all__ = ["load"]

# Folder names of the configuration tree; with both repositories at one root a node of that name
# would lie in the middle of it.
_RESERVED_HOSTS: Final = frozenset(
    name.lower() for name in ("hosts", "conf", "certs", "data", "importedIDPs", ".harmony-agent")
)
_SERIAL: Final = re.compile(r"\w{6}-\w{6}")
_DOCKER_NAME: Final = re.compile(r"[0-9a-f]{12}")


def load(
    environ: Mapping[str, str], flags: Mapping[str, str] | None = None
) -> tuple[model.Settings, tuple[Mistake, ...]]:
    """The settings and the warnings about them.

    Raises SettingsError with every mistake found; nothing outside is touched but the secret files.
    """
    report = Report()
    found = read_environment(environ, flags or {}, report)
    files = SecretFiles(found["secrets_mount_point"], report)
    host = _host(found["host"], report)
    if found["system_name"] is None and not any("SYSTEM_NAME" in m.key for m in report.mistakes):
        report.mistake(
            "environment", "CLEO_SYSTEM_NAME", "is missing", "set it to the system's name"
        )
    _check_ca_bundle(found["ca_bundle"], report)
    parts: dict[str, Any] = {
        "license": _license(found, files, report),
        "mail": _mail(found, files, report),
        "log_system": _log_system(files, report),
        "config_repository": _repository(
            files, "cleo-config-repo", required=found["config_sync"], report=report
        ),
        "runtime_repository": _repository(
            files, "cleo-runtime-repo", required=found["runtime_mirror"], report=report
        ),
    }
    # Not needed at run time; a broken one would still be a surprise for Harmony's init job.
    files.read_text("cleo-default-admin-password", required=False)
    runtime = parts["runtime_repository"]
    if runtime is not None and runtime.type not in ("file", "smb"):
        report.warning(
            files.source("cleo-runtime-repo"),
            "type",
            f"{runtime.type} works, but Cleo supports only smb for runtime files",
        )
    _conceal_secrets(found["api_token"], *parts.values(), report=report)
    if report.mistakes:
        raise SettingsError(report.mistakes)
    settings = _assemble(found, parts, host, _time_zone(environ.get("TZ"), report))
    return settings, tuple(report.warnings)


def _assemble(
    found: Mapping[str, Any], parts: Mapping[str, Any], host: str, time_zone: str | None
) -> model.Settings:
    token = found["api_token"]
    return model.Settings(
        system=found["system_name"],
        host=host,
        home=found["home"],
        state_dir=found["state_dir"],
        signal_dir=found["signal_dir"],
        secrets_dir=found["secrets_mount_point"],
        bind=found["bind"],
        sync=model.SyncSettings(
            poll_interval=found["poll_interval"],
            list_interval=found["list_interval"],
            max_delete=found["max_delete"],
            config_extra=found["config_extra"] or (),
            runtime_extra=found["runtime_extra"] or (),
        ),
        config_sync=found["config_sync"],
        runtime_mirror=found["runtime_mirror"],
        log_stream=found["log_stream"],
        parked_adoption=found["parked_adoption"],
        drain_timeout=found["drain_timeout"],
        signal_process=found["signal_process"],
        api_token=SecretStr(token) if token else None,
        ca_bundle=found["ca_bundle"],
        log_format=found["log_format"],
        log_level=found["log_level"],
        time_zone=time_zone,
        **parts,
    )


def _host(given: str | None, report: Report) -> str:
    host = given or socket.gethostname()
    key = "HARMONY_AGENT_HOST"
    if given is None:
        try:
            path_segment(host)
        except ValueError as error:
            report.mistake("host name", "", f"{host!r} is not usable", f"set {key}: it {error}")
    if host.lower() in _RESERVED_HOSTS:
        report.mistake(
            "environment",
            key,
            f"{host!r} is the name of a configuration folder",
            "give this node another name",
        )
    if _DOCKER_NAME.fullmatch(host):
        report.warning(
            "environment",
            key,
            f"{host!r} looks like a random container name: after the next start this node's "
            "message IDs would not be found again",
            "set HARMONY_AGENT_HOST or docker run --hostname",
        )
    return host


def _time_zone(name: str | None, report: Report) -> str | None:
    """Harmony's zone by its IANA name; None leaves local time to the C library, which also knows
    POSIX rules such as CET-1CEST."""
    if not name:
        return None
    try:
        return ZoneInfo(name.removeprefix(":")).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        report.warning(
            "environment",
            "TZ",
            f"{name!r} is not a time zone of the IANA database",
            "times of Harmony's log are read as the system reads this TZ; set one such as "
            "Europe/Berlin, the same as Harmony's",
        )
        return None


def _check_ca_bundle(bundle: Path | None, report: Report) -> None:
    if bundle is None:
        return
    try:
        ssl.create_default_context(cafile=bundle)
    except (OSError, ssl.SSLError) as error:
        reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        report.mistake(
            "environment",
            "HARMONY_AGENT_CA_BUNDLE",
            f"{bundle} can't be used: {reason}",
            "it should be a PEM file of CA certificates",
        )


def _license(
    found: Mapping[str, Any], files: SecretFiles, report: Report
) -> model.LicenseSettings | None:
    if not found["license"]:
        return None
    key = files.read_bytes("cleo-license", required=True)
    if key is not None and b"\0" in key:
        report.mistake(
            files.source("cleo-license"),
            "",
            "is not text",
            "it should be Harmony's license_key.txt",
        )
    elif key is not None and b"license.key" not in key:
        report.warning(
            files.source("cleo-license"),
            "license.key",
            "is missing: this does not look like Harmony's license_key.txt",
        )
    code = files.read_text("cleo-license-verification-code", required=True)
    serial = found["serial"] or files.read_text("cleo-license-serial", required=False)
    if serial is not None and not _SERIAL.fullmatch(serial.strip()):
        report.mistake(
            "environment" if found["serial"] else files.source("cleo-license-serial"),
            "HARMONY_AGENT_SERIAL" if found["serial"] else "",
            "is not a serial number",
            "it should look like AA1234-ZZ5678",
        )
    if serial is None:
        report.warning(
            "environment",
            "HARMONY_AGENT_SERIAL",
            "is not set: the serial that the license service answers is taken",
        )
    if key is None or code is None or report.mistakes:
        return None
    return model.LicenseSettings(
        key=SecretBytes(key),
        verification_code=SecretStr(code.strip()),
        serial=serial.strip() if serial else None,
        url=found["license_url"],
        ticket_url=found["ticket_url"],
        grace_period=found["grace_period"],
        verify_interval=found["verify_interval"],
        verify_retry=found["verify_retry"],
    )


def _mail(found: Mapping[str, Any], files: SecretFiles, report: Report) -> model.MailSettings:
    text = files.read_text("cleo-system-settings", required=False)
    document = parse_mapping(text, files.source("cleo-system-settings"), report) if text else None
    from_document = read_system_settings(document) if document else {}
    smtp = found["smtp_url"] or from_document.get("smtp_url")
    if smtp:
        try:
            parse_smtp_url(smtp)
        except ValueError as error:
            if found["smtp_url"]:
                report.mistake("environment", "HARMONY_AGENT_SMTP_URL", "is not usable", str(error))
            else:  # Harmony's own setting: it is not ours to refuse
                source, key = files.source("cleo-system-settings"), "proxies.proxies[].url"
                report.warning(source, key, "is not usable for mails", str(error))
            smtp = None
    return model.MailSettings(
        administrator=found["admin_email"] or from_document.get("admin_email"),
        sender=found["from_email"] or from_document.get("from_email"),
        smtp_url=SecretStr(smtp) if smtp else None,
        time_zone=found["admin_timezone"],
    )


def _log_system(files: SecretFiles, report: Report) -> model.LogSystem:
    text = files.read_text("cleo-log-system", required=False)
    if text is None:
        return model.LocalLogSystem()
    source = files.source("cleo-log-system")
    document = parse_mapping(text, source, report)
    return (
        read_log_system(document, source, report) if document else None
    ) or model.LocalLogSystem()


def _repository(
    files: SecretFiles, name: str, *, required: bool, report: Report
) -> model.Repository | None:
    text = files.read_text(name, required=required)
    if text is None:
        return None
    document = parse_mapping(text, files.source(name), report)
    return read_repository(document, files.source(name), report) if document else None


def _conceal_secrets(token: str | None, *parts: Any, report: Report) -> None:
    """Register every secret for redaction; one too short to be starred is refused."""
    found = [("HARMONY_AGENT_API_TOKEN", token)] if token else []
    for part in parts:
        fields = dataclasses.fields(part) if part is not None else ()
        values = {field.name: getattr(part, field.name) for field in fields}
        found += [(n, v.get_secret_value()) for n, v in values.items() if isinstance(v, SecretStr)]
    for name, value in found:
        if len(value) < SHORTEST_SECRET:
            report.warning(
                "settings",
                name,
                f"is shorter than {SHORTEST_SECRET} characters",
                "such a secret can't be starred in logs; use a longer one",
            )
    conceal(*(value for _, value in found))
