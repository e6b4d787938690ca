"""The sockets to listen on: TCP on every address where possible, and the control socket."""

import errno
import os
import socket
from pathlib import Path
from typing import Final

from harmony_agent.core.errors import Refused

__all__ = ["BACKLOG", "CONTROL_NAME", "bind_control", "bind_tcp"]

CONTROL_NAME: Final = "agent.sock"
DEFAULT_PORT: Final = 8090
BACKLOG: Final = 128

_MOST_PATH: Final = 107  # bytes: Linux' sun_path holds 108 with the closing zero (unix(7))
_NO_IPV6: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def bind_tcp(address: tuple[str, int] | None) -> list[socket.socket]:
    """Sockets bound to (host, port); None is port 8090 of every address.

    Every address (also `::` and the empty host) means IPv6 and IPv4 in one socket, and IPv4 alone
    where the machine has no IPv6.

    Raises Refused if the port is taken, may not be used, or the host is none of this machine's.
    """
    host, port = address or ("", DEFAULT_PORT)
    try:
        if host in ("", "::"):
            return [_bind_everywhere(port)]
        return _bind_each(host, port)
    except OSError as error:
        raise Refused(_tcp_refusal(host, port, error)) from error


def _bind_everywhere(port: int) -> socket.socket:
    try:
        return _bind(socket.AF_INET6, ("::", port), dual_stack=True)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
        return _bind(socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 - the kubelet calls the pod's IP


def _bind_each(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
    )
    bound: list[socket.socket] = []
    try:
        for family, _, _, _, target in dict.fromkeys(found):
            bound.append(_bind(family, target))
    except OSError:
        for listener in bound:
            listener.close()
        raise
    return bound


def _bind(
    family: socket.AddressFamily, target: tuple[object, ...], *, dual_stack: bool = False
) -> socket.socket:
    # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer waits 40 ms
    # for the peer's delayed acknowledgment.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
        listener.bind(target)
        # Here, not only in the event loop: of two that bind at once the second fails here.
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _tcp_refusal(host: str, port: int, error: OSError) -> str:
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another process; set HARMONY_AGENT_BIND to a free one"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user; set HARMONY_AGENT_BIND to one from 1024"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"HARMONY_AGENT_BIND ({shown}) names no address of this machine"
    return f"{shown} can't be listened on: {error.strerror}; see HARMONY_AGENT_BIND"


def bind_control(state_dir: Path) -> socket.socket:
    """The control socket `agent.sock` in `state_dir`, mode 0600; a dead agent's is replaced.

    Raises Refused if another agent answers there, or if the path is too long or can't be written.
    """
    path = state_dir / CONTROL_NAME
    if len(os.fsencode(path)) > _MOST_PATH:
        raise Refused(
            f"the control socket's path must not exceed {_MOST_PATH} bytes: {path}; "
            "set HARMONY_AGENT_STATE_DIR to a shorter one"
        )
    if _somebody_answers(path):
        raise Refused(
            f"another harmony-agent runs with this state directory: it answers on {path}; "
            "end it, or set HARMONY_AGENT_STATE_DIR to a directory of this agent's own"
        )
    try:
        return _bind_unix(path)
    except OSError as error:
        raise Refused(
            f"the control socket {path} can't be made: {error.strerror}; "
            "HARMONY_AGENT_STATE_DIR must be a directory that this user can write"
        ) from error


def _somebody_answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            return True  # its queue is full: busy, but there
        except OSError:
            return False
        return True


def _bind_unix(path: Path) -> socket.socket:
    # Bound under another name: others must not find it before its mode is set and it listens. The
    # name is no longer than the final one, so that the length checked above holds for it.
    temporary = path.with_name(".agent.new")
    temporary.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(os.fspath(temporary))
        temporary.chmod(0o600)
        listener.listen(BACKLOG)
        temporary.replace(path)
    except OSError:
        listener.close()
        temporary.unlink(missing_ok=True)
        raise
    return listener
