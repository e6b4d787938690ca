"""The mail server's address, written as a URL."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

__all__ = ["SmtpAddress", "parse_smtp_url"]

_PORTS: Final = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_FORM: Final = "smtp://, smtp+starttls:// or smtps:// [user:password@]host[:port]"


@dataclass(frozen=True, slots=True)
class SmtpAddress:
    """A mail server: how it is spoken to, where it is, and the account, if it wants one."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_smtp_url(url: str) -> SmtpAddress:
    """`url` taken apart; user and password are percent-decoded.

    Raises ValueError that says what would be right and never shows the URL, which may hold a
    password.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ValueError(f"the SMTP URL must look like {_FORM}") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"the SMTP URL must look like {_FORM}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(
            f"the SMTP URL must end after host and port ({_FORM}); "
            "write '/', '?', '#' and '@' of a password as %2F, %3F, %23 and %40"
        )
    if (parts.username is None) != (parts.password is None):
        raise ValueError(f"the SMTP URL must hold user and password, or neither ({_FORM})")
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    return SmtpAddress(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], user, password)
