"""Azure's Shared Key authorization for Blob Storage (learn.microsoft.com, "Authorize with Shared
Key"); pure."""

import base64
import hmac
from collections.abc import Mapping
from typing import Final

__all__ = ["shared_key"]

_STANDARD: Final = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


def shared_key(
    account: str,
    key: bytes,
    request: tuple[str, str, Mapping[str, str]],
    headers: Mapping[str, str],
    size: int,
) -> str:
    """The `authorization` header for a request with these headers (lower case) and a body of
    `size` bytes. `request` is method, quoted path and unquoted query parameters."""
    method, path, query = request
    standard = {**headers, "content-length": str(size) if size else ""}
    lines = [method, *(standard.get(name, "") for name in _STANDARD)]
    lines += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-ms-")]
    lines.append(f"/{account}{path}")
    lines += [f"{name}:{query[name]}" for name in sorted(query)]
    signature = hmac.digest(key, "\n".join(lines).encode(), "sha256")
    return f"SharedKey {account}:{base64.b64encode(signature).decode()}"
