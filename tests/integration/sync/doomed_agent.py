"""The process of agent_process, killed in the very moment in which it has replaced a file that
Harmony was writing to.

    python -m tests.integration.sync.doomed_agent FOLDER TEXT

TEXT is what Harmony writes, in place, between the agent's last look and the replacement.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from harmony_agent.core.durable import Draft
from tests.integration.sync.agent_process import live


def main() -> None:
    """Run until the first file is replaced."""
    replace = Draft.put_in_exchange

    def replace_and_die(draft: Draft, old: Path) -> None:
        draft.target.write_text(sys.argv[2])
        replace(draft, old)
        os.kill(os.getpid(), signal.SIGKILL)

    pytest.MonkeyPatch().setattr(Draft, "put_in_exchange", replace_and_die)
    asyncio.run(live(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
