"""`drain`: waits for Harmony's end; needs no running agent."""

import sys
import time
from pathlib import Path

import click

from harmony_agent.cli.limits import limit_of
from harmony_agent.lifecycle.signals import SignalDirectory

__all__ = ["drain"]

_POLL = 0.5  # seconds


@click.command()
@click.option(
    "--signal-dir",
    envvar="HARMONY_AGENT_SIGNAL_DIR",
    default="/var/run/harmony-agent",
    type=click.Path(path_type=Path),
    help="volume shared with Harmony [HARMONY_AGENT_SIGNAL_DIR]",
)
@click.option("--timeout", default="1h", show_default=True, help="give up after this long")
def drain(signal_dir: Path, timeout: str) -> None:
    """Block until Harmony is gone; stops nothing. For the agent's preStop hook."""
    signals = SignalDirectory(signal_dir)
    deadline = time.monotonic() + limit_of(timeout)
    while signals.harmony_runs():
        if time.monotonic() >= deadline:
            click.echo(f"harmony-agent: Harmony still runs after {timeout}", err=True)
            sys.exit(1)
        time.sleep(_POLL)
