"""`install-guard`: copies harmony-guard to a volume that Harmony's container shares."""

from pathlib import Path

from harmony_agent.core.durable import write_durably
from harmony_agent.core.errors import Refused

__all__ = ["NAME", "install_guard"]

NAME = "harmony-guard"

# A symbolic link to entrypoint/ in the source tree, the file itself in the wheel.
_SCRIPT = Path(__file__).with_name(NAME)


def install_guard(directory: Path) -> Path:
    """Copy the script into `directory`, made where missing, executable for all; its path there.

    A guard that runs from an earlier copy goes on with that one: the file is replaced, not
    rewritten. Raises Refused if the directory can't be made or written.
    """
    target = directory / NAME
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_durably(target, _SCRIPT.read_bytes(), mode=0o755)
    except OSError as error:
        raise Refused(
            f"harmony-guard can't be copied to {directory}: {error.strerror}; "
            "mount a volume there that this user can write"
        ) from error
    return target
