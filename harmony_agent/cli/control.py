"""Speaks to a running agent over its control socket."""

from pathlib import Path
from typing import Any

import httpx

from harmony_agent.core.errors import AgentError, Unavailable

__all__ = ["ControlError", "NotRunning", "ask"]

SOCKET_NAME = "agent.sock"


class NotRunning(Unavailable):
    """No agent answers on the control socket."""


class ControlError(AgentError):
    """The agent answered that it can't; the message is the agent's own."""


def ask(
    state_dir: Path,
    method: str,
    path: str,
    *,
    params: dict[str, str] | None = None,
    body: dict[str, Any] | None = None,
    limit: float = 60.0,
) -> dict[str, Any]:
    """One request to the running agent; its JSON answer.

    Raises NotRunning, or ControlError with the agent's own words.
    """
    socket = state_dir / SOCKET_NAME
    transport = httpx.HTTPTransport(uds=str(socket))
    try:
        with httpx.Client(transport=transport, base_url="http://agent", timeout=limit) as client:
            answer = client.request(method, path, params=params, json=body)
    except httpx.TimeoutException as error:
        raise ControlError(f"the agent did not answer within {limit:g} s") from error
    except httpx.TransportError as error:
        raise NotRunning(
            f"no harmony-agent answers on {socket}; is it running, and is "
            "HARMONY_AGENT_STATE_DIR the same here?"
        ) from error
    if answer.headers.get("content-type", "").startswith("application/json"):
        content = answer.json()
    else:
        content = {"message": answer.text}
    if answer.is_error:
        raise ControlError(str(content.get("message", f"HTTP {answer.status_code}")))
    return dict(content)
