"""Who may see status, log and page over TCP. Probes and metrics are open; the control socket is
guarded by its file mode alone."""

import hmac
import re
from collections.abc import Sequence
from enum import StrEnum

__all__ = ["Verdict", "judge", "judge_shell"]

Headers = Sequence[tuple[bytes, bytes]]

_LOOPBACK_PEERS = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
# A page of a foreign site that has its own name resolve to 127.0.0.1 (DNS rebinding) makes the
# browser connect from a loopback peer, but it can't make it send another Host than that name.
_LOOPBACK_HOST = re.compile(rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
# Any of these tells that a proxy stands between: the peer is not who asks.
_PROXY_PREFIXES = (b"forwarded", b"x-forwarded", b"x-original-forwarded")
_PROXY_HEADERS = frozenset(
    {
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"client-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"fastly-client-ip",
        b"x-envoy-external-address",
        b"x-proxyuser-ip",
    }
)


class Verdict(StrEnum):
    """What a request may have; the value is the metric's label."""

    ALLOWED = "allowed"
    UNAUTHENTICATED = "unauthenticated"  # 401: a token is set and this is not it
    FORBIDDEN = "forbidden"  # 403: no token is set and the asker is not on this machine


def judge(peer: str | None, headers: Headers, token: str | None) -> Verdict:
    """May this request see data? `peer` is the TCP peer's address, `headers` are raw with names
    in lower case, `token` is the configured one or None."""
    if token:
        return Verdict.ALLOWED if _bears(headers, token) else Verdict.UNAUTHENTICATED
    return Verdict.ALLOWED if _is_local(peer, headers) else Verdict.FORBIDDEN


def judge_shell(peer: str | None, headers: Headers, token: str | None) -> Verdict:
    """May this request have the page without data? With a token set the page asks for it, so
    anybody may; a browser can't send the token by itself."""
    return Verdict.ALLOWED if token else judge(peer, headers, token)


def _bears(headers: Headers, token: str) -> bool:
    found = [value for name, value in headers if name == b"authorization"]
    if len(found) != 1:
        return False
    scheme, _, credentials = found[0].partition(b" ")
    right = hmac.compare_digest(credentials.strip(b" "), token.encode())
    return right and scheme.lower() == b"bearer"


def _is_local(peer: str | None, headers: Headers) -> bool:
    hosts = [value for name, value in headers if name == b"host"]
    return (
        peer in _LOOPBACK_PEERS
        and len(hosts) == 1
        and _LOOPBACK_HOST.fullmatch(hosts[0]) is not None
        and not any(_tells_of_a_proxy(name) for name, _ in headers)
    )


def _tells_of_a_proxy(name: bytes) -> bool:
    name = name.replace(b"_", b"-")
    return name.startswith(_PROXY_PREFIXES) or name in _PROXY_HEADERS
