"""`python -m harmony_agent` is the same as `harmony-agent`."""

from harmony_agent.cli import main

main()
