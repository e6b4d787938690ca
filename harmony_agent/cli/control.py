"""Speaks to a running agent over its control socket.

Probes do that every few seconds in every pod, so it is done with what Python brings: an HTTP
library would take five times the CPU only to be imported.
"""

import json
import socket
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import click

from harmony_agent.core.errors import AgentError, Unavailable

__all__ = ["ControlError", "NotRunning", "ask", "state_dir_option"]

F = TypeVar("F", bound=Callable[..., Any])

SOCKET_NAME = "agent.sock"


class NotRunning(Unavailable):
    """No agent answers on the control socket."""


class ControlError(AgentError):
    """The agent answered that it can't; the message is the agent's own."""


def state_dir_option(command: F) -> F:
    """Where the running agent keeps its control socket."""
    return click.option(
        "--state-dir",
        envvar="HARMONY_AGENT_STATE_DIR",
        default="/var/lib/harmony-agent",
        type=click.Path(path_type=Path),
        help="state directory of the running agent [HARMONY_AGENT_STATE_DIR]",
    )(command)


def ask(
    state_dir: Path,
    method: str,
    path: str,
    *,
    params: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    limit: float = 60.0,
) -> dict[str, Any]:
    """One request to the running agent; its JSON answer.

    Raises NotRunning, or ControlError with the agent's own words.
    """
    connection = _Connection(state_dir / SOCKET_NAME, limit)
    try:
        target = f"{path}?{urlencode(params)}" if params else path
        headers = {"Content-Type": "application/json"} if body is not None else {}
        asked = json.dumps(body) if body is not None else None
        connection.request(method, target, asked, headers)
        answer = connection.getresponse()
        data = answer.read()
    except TimeoutError as error:
        raise ControlError(f"the agent did not answer within {limit:g} s") from error
    except (OSError, HTTPException) as error:
        raise NotRunning(
            f"no harmony-agent answers on {connection.path}; is it running, and is "
            "HARMONY_AGENT_STATE_DIR the same here?"
        ) from error
    finally:
        connection.close()
    if (answer.getheader("Content-Type") or "").startswith("application/json"):
        content: dict[str, Any] = json.loads(data)
    else:
        content = {"message": data.decode("utf-8", "replace")}
    if answer.status >= 400:
        raise ControlError(str(content.get("message", f"HTTP {answer.status}")))
    return content


class _Connection(HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path: Path, limit: float) -> None:
        super().__init__("agent", timeout=limit)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))
