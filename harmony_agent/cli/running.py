"""`run` and `init`: the agent itself."""

import asyncio
import logging
import os
import sys

import click

from harmony_agent.cli.limits import limit_of
from harmony_agent.cli.options import load_with, settings_options
from harmony_agent.lifecycle import agent_log

__all__ = ["init", "run"]

log = logging.getLogger(__name__)


@click.command()
@settings_options
def run(**flags: str | None) -> None:
    """Run the sidecar until SIGTERM, or until the license ends it (77)."""
    _end(_run_agent(flags, init_limit=None))


@click.command()
@settings_options
@click.option("--timeout", default="10m", show_default=True, help="give up after this long")
def init(timeout: str, **flags: str | None) -> None:
    """Do the first steps (repositories, first pull, license), then end."""
    _end(_run_agent(flags, init_limit=limit_of(timeout)))


def _run_agent(flags: dict[str, str | None], init_limit: float | None) -> int:
    settings, warnings = load_with(flags)
    agent_log.configure(settings.log_format, settings.log_level)
    for warning in warnings:
        log.warning("%s", warning)
    # Imported here: a mistake in the settings is told without waiting for all of it.
    from harmony_agent.agent import Agent  # noqa: PLC0415
    from harmony_agent.core.open_files import allow_many_files  # noqa: PLC0415

    allow_many_files()
    given = {key: value for key, value in flags.items() if value}
    agent = Agent(settings, os.environ, given)
    return asyncio.run(agent.init(init_limit) if init_limit is not None else agent.run())


def _end(code: int) -> None:
    """End at once: a thread that hangs in a dead server's library must not hold the process."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
