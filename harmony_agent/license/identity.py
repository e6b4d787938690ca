"""Which license this is, and the key that protects what is recorded of it."""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from harmony_agent.settings.model import LicenseSettings

__all__ = ["LicenseIdentity", "identify"]

# The verification code may be short. Each guess at it costs this many hashes; so does each start
# of the agent, some 20 ms.
_ROUNDS: Final = 50_000


@dataclass(frozen=True, slots=True)
class LicenseIdentity:
    """Another serial, verification code or license file is another license.

    `id` names the license in the record without telling anything about it; `key_id` names the key
    made from the verification code; `file_sha256` is in hex.
    """

    id: str
    key_id: str
    file_sha256: str
    _key: bytes = field(repr=False)

    def sign(self, value: Any) -> str:
        """HMAC-SHA256 in hex over the canonical form of JSON values."""
        return _hmac(self._key, orjson.dumps(value, option=orjson.OPT_SORT_KEYS))

    def signed(self, value: Any, signature: object) -> bool:
        """Whether `signature` is the one of `value`."""
        return isinstance(signature, str) and hmac.compare_digest(
            self.sign(value).encode(), signature.encode("utf-8", "replace")
        )


def identify(settings: LicenseSettings) -> LicenseIdentity:
    """The identity of the configured license."""
    digest = hashlib.sha256(settings.key.get_secret_value()).hexdigest()
    code = settings.verification_code.get_secret_value().encode()
    key = hashlib.pbkdf2_hmac("sha256", code, b"harmony-agent license record", _ROUNDS)
    named = orjson.dumps([settings.serial, digest])
    return LicenseIdentity(
        id=_hmac(key, b"license " + named)[:32],
        key_id=_hmac(key, b"key")[:16],
        file_sha256=digest,
        _key=key,
    )


def _hmac(key: bytes, data: bytes) -> str:
    return hmac.new(key, data, hashlib.sha256).hexdigest()
