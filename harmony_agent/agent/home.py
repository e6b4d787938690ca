"""Whether this home's first pull was completed with this state directory."""

import os
import uuid
from pathlib import Path

from harmony_agent.core.durable import write_durably
from harmony_agent.core.errors import Refused

__all__ = ["Home"]


class Home:
    """Harmony's home and the state directory know each other by an id written into both.

    The state alone is not enough: on a volume that outlives the pod it would vouch for a home that
    is new and empty, and everything in the repositories would look deleted.
    """

    def __init__(self, home: Path, state_dir: Path) -> None:
        self._in_home = home / ".harmony-agent" / "home-id"
        self._in_state = state_dir / "home-id"

    def was_pulled(self) -> bool:
        """Whether the first pull of this very home is done: the agent is restarting beside it.

        Raises Refused if either can't be read.
        """
        try:
            return self._in_home.read_bytes() == self._in_state.read_bytes()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise Refused(
                f"{error.filename} can't be read: {error.strerror}; make it readable for user "
                f"{os.geteuid()}"
            ) from error

    def mark_pulled(self) -> None:
        """Remember that the first pull is done. Raises OSError if it can't be remembered."""
        identity = uuid.uuid4().hex.encode()
        self._in_home.parent.mkdir(mode=0o750, exist_ok=True)
        write_durably(self._in_home, identity)
        write_durably(self._in_state, identity)
