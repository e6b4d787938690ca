"""Who this agent is, for as long as its state directory lives."""

import uuid
from pathlib import Path
from typing import Final

from harmony_agent.core.durable import write_durably
from harmony_agent.core.errors import Refused

__all__ = ["own_identity"]

_FILE: Final = "identity"


def own_identity(state_dir: Path) -> str:
    """The UUID kept in `state_dir`, made at the first call.

    The caller holds the state directory's lock (one agent per directory). A file that is no UUID
    is replaced: the new identity waits for the old one's lease like a stranger, which is safe.

    Raises Refused if the directory can't be read or written.
    """
    path = state_dir / _FILE
    try:
        try:
            return str(uuid.UUID(path.read_text().strip()))
        except (FileNotFoundError, ValueError):
            identity = str(uuid.uuid4())
            write_durably(path, f"{identity}\n".encode())
            return identity
    except OSError as error:
        raise Refused(f"{path} can't be used: {error.strerror}; make it writable") from error
