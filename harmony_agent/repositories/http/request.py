"""The head of an HTTP/1.1 request (RFC 9112); pure."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from harmony_agent.core.errors import Refused

__all__ = ["quoted", "request_head"]

_TEXT: Final = bytes([9, *range(0x20, 0x7F)])  # what we let a line be made of
_PLAIN: Final = re.compile(r"[0-9A-Za-z/_.~-]*")


def quoted(path: str) -> str:
    """A path percent-encoded as S3 and Azure want it in URL and signature."""
    return path if _PLAIN.fullmatch(path) else quote(path, safe="/-_.~")


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The bytes up to where the body begins; `target` is percent-encoded.

    Raises Refused for what would be read as something else than one request with these headers.
    It does not tell the values: there are secrets among them.
    """
    lines = [f"{name}: {value}" for name, value in headers.items()]
    try:
        head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode("ascii")
    except UnicodeEncodeError as error:
        raise _refused(headers) from error
    if head.translate(None, _TEXT) != b"\r\n" * (len(lines) + 2) or " " in target:
        raise _refused(headers)
    return head


def _refused(headers: Mapping[str, str]) -> Refused:
    odd = [name for name, value in headers.items() if not (value.isascii() and value.isprintable())]
    where = f"the header {odd[0]!r}" if odd else "the URL"
    return Refused(f"{where} holds a character that HTTP can't carry; correct the settings")
