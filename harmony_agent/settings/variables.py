"""The table of environment variables; flags, documentation and warnings all come from it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from harmony_agent.settings import values
from harmony_agent.settings.report import Report

__all__ = ["PREFIX", "VARIABLES", "Variable", "read_environment"]

PREFIX: Final = "HARMONY_AGENT_"

# Of a Service called harmony-agent Kubernetes makes HARMONY_AGENT_PORT=tcp://… and its like.
_INJECTED = re.compile(
    r"HARMONY_AGENT_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting: its variable, how its text is read, its default as text, what it means."""

    name: str
    read: Callable[[str], Any]
    default: str | None
    meaning: str
    secret: bool = False

    @property
    def flag(self) -> str:
        """The flag of `run`, such as `--state-dir`."""
        return "--" + self.key.replace("_", "-")

    @property
    def key(self) -> str:
        """The name without prefix, in lower case, such as `state_dir`."""
        return self.name.removeprefix(PREFIX).removeprefix("CLEO_").lower()


def _absolute(value: str) -> Path:
    path = Path(value)
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _at_least(seconds: float, word: str) -> Callable[[str], float]:
    def read(value: str) -> float:
        found = values.duration(value)
        if found < seconds:
            raise ValueError(f"must be at least {word}")
        return found

    return read


def _grace(value: str) -> float:
    found = values.duration(value)
    if not 0 < found <= 4 * 86400:
        raise ValueError("may be shortened, never lengthened: at most 4d, and more than 0s")
    return found


def _address(value: str) -> str:
    if not re.fullmatch(r"[^@\s<>,;:\"]+@[^@\s<>,;:\"]+", value):
        raise ValueError("must be one mail address such as ops@example.com")
    return value


VARIABLES: Final[tuple[Variable, ...]] = (
    Variable(
        "CLEO_SYSTEM_NAME", values.path_segment, None, "the Harmony system this node belongs to"
    ),
    Variable(
        "CLEO_SECRETS_MOUNT_POINT", _absolute, "/var/secrets", "directory of the secret files"
    ),
    Variable("HARMONY_AGENT_HOST", values.path_segment, None, "this node (default: host name)"),
    Variable("HARMONY_AGENT_HOME", _absolute, "/opt/harmony", "Harmony's directory"),
    Variable(
        "HARMONY_AGENT_STATE_DIR", _absolute, "/var/lib/harmony-agent", "checkpoints, local state"
    ),
    Variable(
        "HARMONY_AGENT_SIGNAL_DIR",
        _absolute,
        "/var/run/harmony-agent",
        "volume shared with Harmony: ready, running, exit",
    ),
    Variable(
        "HARMONY_AGENT_BIND",
        values.listen_address,
        None,
        "health, metrics, API, page (default: [::]:8090, else 0.0.0.0:8090)",
    ),
    Variable("HARMONY_AGENT_SERIAL", str, None, "enterprise serial, AA1234-ZZ5678"),
    Variable(
        "HARMONY_AGENT_LICENSE_URL", values.https_url, "https://license.cleo.com", "license service"
    ),
    Variable(
        "HARMONY_AGENT_TICKET_URL",
        values.https_url,
        "https://it-ticket.cleo.com",
        "ticket service",
    ),
    Variable(
        "HARMONY_AGENT_CA_BUNDLE", _absolute, None, "CA certificates added to the system's (PEM)"
    ),
    Variable("HARMONY_AGENT_GRACE_PERIOD", _grace, "4d", "grace period; may be shortened only"),
    Variable(
        "HARMONY_AGENT_VERIFY_INTERVAL",
        _at_least(60, "1m"),
        "24h",
        "re-verification of a valid license",
    ),
    Variable("HARMONY_AGENT_VERIFY_RETRY", _at_least(1, "1s"), "15m", "retry in grace (± 20 %)"),
    Variable(
        "HARMONY_AGENT_POLL_INTERVAL", _at_least(0.5, "500ms"), "5s", "look at the change markers"
    ),
    Variable("HARMONY_AGENT_LIST_INTERVAL", _at_least(5, "5s"), "5m", "full listing"),
    Variable(
        "HARMONY_AGENT_MAX_DELETE",
        values.percentage,
        "10%",
        "share (at least 20 files) beyond which deletes are held",
    ),
    Variable(
        "HARMONY_AGENT_CONFIG_EXTRA", values.comma_list, None, "further shared patterns below home"
    ),
    Variable(
        "HARMONY_AGENT_RUNTIME_EXTRA",
        values.comma_list,
        None,
        "further per-host patterns below home",
    ),
    Variable("HARMONY_AGENT_CONFIG_SYNC", values.switch, "on", "configuration sync, on or off"),
    Variable("HARMONY_AGENT_RUNTIME_MIRROR", values.switch, "on", "runtime mirror, on or off"),
    Variable("HARMONY_AGENT_LOG_STREAM", values.switch, "on", "log stream, on or off"),
    Variable("HARMONY_AGENT_LICENSE", values.switch, "on", "license check, on or off"),
    Variable(
        "HARMONY_AGENT_PARKED_ADOPTION",
        _at_least(120, "2m"),
        "1h",
        "time a node is away before another one delivers its parked log events",
    ),
    Variable(
        "HARMONY_AGENT_DRAIN_TIMEOUT",
        _at_least(0, "0s"),
        "25s",
        "one deadline for draining at the end",
    ),
    Variable(
        "HARMONY_AGENT_SIGNAL_PROCESS",
        values.pattern,
        None,
        "command-line pattern of Harmony's process to SIGTERM in a shared process namespace",
    ),
    Variable(
        "HARMONY_AGENT_API_TOKEN",
        str,
        None,
        "bearer token of log API, status and page",
        secret=True,
    ),
    Variable("HARMONY_AGENT_ADMIN_EMAIL", _address, None, "the administrator's mail address"),
    Variable(
        "HARMONY_AGENT_ADMIN_TIMEZONE",
        values.time_zone,
        None,
        "the administrator's time zone, such as Europe/Berlin, in mails beside UTC",
    ),
    Variable("HARMONY_AGENT_FROM_EMAIL", _address, None, "sender of the agent's mails"),
    Variable(
        "HARMONY_AGENT_SMTP_URL",
        str,
        None,
        "smtp://, smtp+starttls:// or smtps:// [user:password@]host[:port]",
        secret=True,
    ),
    Variable("HARMONY_AGENT_LOG_FORMAT", values.one_of("json", "text"), "json", "json or text"),
    Variable(
        "HARMONY_AGENT_LOG_LEVEL",
        values.one_of("debug", "info", "warning", "error"),
        "info",
        "debug, info, warning or error",
    ),
)

_KNOWN: Final = frozenset(v.name for v in VARIABLES) | frozenset(
    v.name + "_FILE" for v in VARIABLES if v.secret
)


def read_environment(
    environ: Mapping[str, str], flags: Mapping[str, str], report: Report
) -> dict[str, Any]:
    """All variables by key (`state_dir`), read; None where neither given nor defaulted.

    A flag wins over its variable, a variable over its `…_FILE`. An empty variable counts as not
    given: charts set those. Mistakes and unknown variables go to `report`.
    """
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in _KNOWN and not _INJECTED.fullmatch(name):
            close = get_close_matches(name, _KNOWN, n=1)
            report.warning(
                "environment",
                name,
                "is not a variable of the agent and is ignored",
                f"did you mean {close[0]}?" if close else "",
            )
    return {variable.key: _read(variable, environ, flags, report) for variable in VARIABLES}


def _read(
    variable: Variable, environ: Mapping[str, str], flags: Mapping[str, str], report: Report
) -> Any:
    source, text = "environment", environ.get(variable.name) or None
    key = variable.name
    if flags.get(variable.key):
        source, key, text = "command line", variable.flag, flags[variable.key]
    elif text is None and variable.secret and environ.get(variable.name + "_FILE"):
        source, key = "environment", variable.name + "_FILE"
        text = _read_secret_file(environ[key], key, report)
    text = text if text is not None else variable.default
    if text is None:
        return None
    try:
        return variable.read(text)
    except ValueError as error:
        shown = "is not usable" if variable.secret else f"{text!r} is not usable"
        report.mistake(source, key, shown, f"it {error}")
        return variable.read(variable.default) if variable.default is not None else None


def _read_secret_file(path: str, key: str, report: Report) -> str | None:
    try:
        return Path(path).read_text().rstrip("\r\n") or None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        report.mistake("environment", key, f"{path} can't be read: {reason}", "")
        return None
