"""Starts agents from a process that has imported everything, so that a hundred fit in a minute.

    python -m tests.system.agent_forks LOG

Each line on stdin starts `harmony-agent run`, one at a time, with the process's environment; its
pid is printed, and `ended` after its end. The agent's own output is appended to LOG. Splunk is sent
few events at once, so that several batches are on their way with a few hundred of them, and asked
for acknowledgments ten times as often, so that these are no slower.
"""

import importlib
import os
import sys

from harmony_agent.cli.main import main as harmony_agent
from harmony_agent.logs.systems import splunk_acks
from harmony_agent.logs.systems.interface import Limits
from harmony_agent.logs.systems.splunk import Splunk

_NEEDED = ("harmony_agent.agent", "harmony_agent.agent.jobs")


def main() -> None:
    """Serve until stdin is closed."""
    for module in _NEEDED:
        importlib.import_module(module)
    Splunk.limits = Limits(entries=20, size=1_000_000)
    splunk_acks._ACK_FIRST = 0.05  # type: ignore[misc]  # final but for this test
    output = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            for stream in (1, 2):
                os.dup2(output, stream)
            sys.argv = ["harmony-agent", "run"]
            harmony_agent()  # ends the process
        print(child, flush=True)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
