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

__all__ = ["UNSIGNED", "AwsKeys", "query_of", "signed"]


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
    time = _written(now.replace(microsecond=0))
    whole = {**headers, "x-amz-content-sha256": payload_hash, "x-amz-date": time}
    if keys.session:
        whole["x-amz-security-token"] = keys.session
    names = sorted(whole)
    listed = ";".join(names)
    lines = [f"{name}:{whole[name].strip()}" for name in names]
    canonical = "\n".join([method, path, query, *lines, "", listed, payload_hash])
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signature = _signer(keys.secret, time[:8], region).copy()
    signature.update(f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}".encode())
    whole["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.key}/{scope},"
        f"SignedHeaders={listed},Signature={signature.hexdigest()}"
    )
    return whole


@lru_cache(maxsize=2)
def _written(second: datetime) -> str:
    return second.strftime("%Y%m%dT%H%M%SZ")


@lru_cache(maxsize=8)
def _signer(secret: str, day: str, region: str) -> hmac.HMAC:
    """With the day's key, to be copied. Unlike hmac.digest, a copy that gets a short text keeps the
    interpreter's lock, which is dear to get back while other threads are busy."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, digestmod="sha256")
