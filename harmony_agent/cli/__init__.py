"""The command line: `harmony-agent COMMAND`.

Exit codes: 0 clean, 1 failure, 2 usage, 77 license refused or grace over, 78 bad settings.
"""

from harmony_agent.cli.main import main

__all__ = ["main"]
