"""Pure readers of single values; each raises ValueError that says what would be right."""

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = [
    "absolute_root",
    "comma_list",
    "count",
    "duration",
    "https_url",
    "listen_address",
    "one_of",
    "path_segment",
    "pattern",
    "percentage",
    "port",
    "relative_root",
    "share_path",
    "size",
    "switch",
    "time_zone",
    "url",
]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+)(Ki|Mi|Gi|k|M|G)?B?")
_BYTES = {None: 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}


def duration(value: str | float) -> float:
    """`90s`, `15m`, `1h30m`, `4d` in seconds."""
    if isinstance(value, int | float):
        return float(value)
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value.strip():
        raise ValueError("must be a duration such as 30s, 15m, 1h30m or 4d")
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def size(value: str | int) -> int:
    """`512Mi`, `1Gi`, `1000000` in bytes."""
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError("must be a size such as 512Mi or 1Gi")
    return int(match[1]) * _BYTES[match[2]]


def one_of(*words: str) -> Callable[[str], str]:
    """A reader of one of these words, in any case."""

    def read(value: str) -> str:
        word = value.strip().lower()
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return read


def port(value: str | int) -> int:
    """A TCP port."""
    text = str(value).strip()
    if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= 65535:
        raise ValueError("must be a TCP port, 1 to 65535")
    return int(text)


def count(value: str | int) -> int:
    """How many there may be, at least 1."""
    text = str(value).strip()
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise ValueError("must be a whole number from 1 on")
    return int(text)


def switch(value: str | bool) -> bool:
    """`on` or `off` (also true, false, yes, no, 1, 0)."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower()
    if word in ("on", "true", "yes", "1"):
        return True
    if word in ("off", "false", "no", "0"):
        return False
    raise ValueError("must be on or off")


def percentage(value: str) -> float:
    """`10%` as a share, 0.1."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip())
    if match is None or float(match[1]) > 100:
        raise ValueError("must be a share such as 10%, from 0% to 100%")
    return float(match[1]) / 100


def comma_list(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """`a, b` as ('a', 'b'); blanks around the items and empty items are dropped."""
    if isinstance(value, tuple):
        return value
    return tuple(item.strip() for item in value.split(",") if item.strip())


def url(value: str) -> str:
    """An http or https URL without user and password; a trailing slash is cut off."""
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError if it is not a number
    except ValueError:
        raise ValueError("must be a URL such as https://server.example.com:8088") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL such as https://server.example.com:8088")
    if parts.username or parts.password:
        raise ValueError("must not hold a user or password")
    return value.rstrip("/")


def https_url(value: str) -> str:
    """An https URL."""
    if not value.startswith("https://"):
        raise ValueError("must be an https:// URL")
    return url(value)


def listen_address(value: str) -> tuple[str, int]:
    """`0.0.0.0:8090`, `[::]:8090` or `:8090` as (host, port); an empty host means all."""
    host, colon, port = value.strip().rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be address:port such as 0.0.0.0:8090 or [::]:8090")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address must stand in brackets: [::]:8090")
    return host, int(port)


def path_segment(value: str) -> str:
    """A name that is one folder name everywhere: letters, digits, blank, `.`, `_`, `-`."""
    if not re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9 ._-]{0,61}[A-Za-z0-9_-])?", value):
        raise ValueError(
            "must be one folder name of at most 63 letters, digits, blanks, '.', '_' and '-', "
            "beginning with a letter, digit or '_' and not ending in a blank or '.'"
        )
    return value


def pattern(value: str) -> str:
    """A regular expression."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"must be a regular expression: {error}") from None
    return value


def time_zone(value: str) -> str:
    """A zone of the IANA database, such as Europe/Berlin."""
    try:
        return ZoneInfo(value.strip()).key
    # A name that is a folder of the database gives IsADirectoryError.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            "must be a time zone of the IANA database, such as Europe/Berlin"
        ) from None


def relative_root(value: str | PurePosixPath) -> PurePosixPath:
    """A folder that can't lead out of the one it is below."""
    path = PurePosixPath(value)
    if ".." in path.parts:
        raise ValueError("must not contain '..'")
    return path


def absolute_root(value: str | PurePosixPath) -> PurePosixPath:
    """An absolute path without `..`."""
    path = relative_root(value)
    if not path.is_absolute():
        raise ValueError("must be an absolute path such as /shared-config")
    return path


def share_path(value: str) -> tuple[str, str | None, str, PurePosixPath]:
    """`//server[:port]/share[/folder]`, with either slash, as (server, port, share, folder)."""
    parts = [part for part in value.replace("\\", "/").split("/") if part]
    if len(parts) < 2 or not value.startswith(("//", "\\\\")):
        raise ValueError("must look like //server/share or //server/share/folder")
    server, share, *folders = parts
    host, colon, number = server.rpartition(":")
    if colon and number.isdigit():
        return host, number, share, PurePosixPath(*folders)
    return server, None, share, PurePosixPath(*folders)
