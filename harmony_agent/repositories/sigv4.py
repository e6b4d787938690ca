"""AWS Signature Version 4 for S3 (docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth
.html); pure."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote

__all__ = ["UNSIGNED", "AwsKeys", "query_of", "quoted", "signed"]


UNSIGNED: Final = "UNSIGNED-PAYLOAD"
"""Stands for the hash of a body that is not known before it is sent."""


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """Access key id, secret, and the session token of temporary keys."""

    key: str
    secret: str
    session: str | None = None

    def __repr__(self) -> str:
        return f"AwsKeys({self.key}, ***)"


def quoted(path: str) -> str:
    """A path as S3 wants it in URL and signature."""
    return quote(path, safe="/-_.~")


def query_of(parameters: Mapping[str, str]) -> str:
    """The query string, sorted and quoted as the signature wants it."""
    return "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(parameters.items())
    )


def signed(
    keys: AwsKeys,
    region: str,
    now: datetime,
    request: tuple[str, str, str],
    headers: Mapping[str, str],
    payload_hash: str,
) -> dict[str, str]:
    """`headers` (lower case, with `host`) and those that sign them.

    `request` is method, quoted path and query string; `now` is in UTC; `payload_hash` is the
    body's SHA-256 in hex, or UNSIGNED.
    """
    method, path, query = request
    time = now.strftime("%Y%m%dT%H%M%SZ")
    whole = {**headers, "x-amz-content-sha256": payload_hash, "x-amz-date": time}
    if keys.session:
        whole["x-amz-security-token"] = keys.session
    names = sorted(whole)
    lines = [f"{name}:{whole[name].strip()}" for name in names]
    canonical = "\n".join([method, path, query, *lines, "", ";".join(names), payload_hash])
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}"
    signature = hmac.digest(_key(keys.secret, time[:8], region), text.encode(), "sha256").hex()
    whole["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.key}/{scope},"
        f"SignedHeaders={';'.join(names)},Signature={signature}"
    )
    return whole


@lru_cache(maxsize=8)
def _key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
