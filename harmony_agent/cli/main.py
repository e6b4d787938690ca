"""All commands under one roof, and what becomes of an error."""

import sys

import click

from harmony_agent import __version__
from harmony_agent.cli import asking, checking, conflicts, dead_letters, inspecting, running
from harmony_agent.core.errors import AgentError
from harmony_agent.core.redaction import redact
from harmony_agent.settings.report import SettingsError

__all__ = ["main"]

EXIT_FAILURE = 1
EXIT_SETTINGS = 78


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="harmony-agent %(version)s")
def _commands() -> None:
    """Sidecar for Cleo Harmony containers."""


for _command in (
    running.run,
    running.init,
    checking.check,
    asking.status,
    asking.logs,
    dead_letters.dead_letters,
    asking.sync,
    conflicts.conflicts,
    asking.wait,
    asking.drain,
    inspecting.serial,
    inspecting.vlproxy_pattern,
    inspecting.install_guard,
    inspecting.version,
):
    _commands.add_command(_command)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        _commands()
    except SettingsError as error:
        click.echo(f"harmony-agent: {error}:", err=True)
        for mistake in error.mistakes:
            click.echo(f"  {redact(str(mistake))}", err=True)
        sys.exit(EXIT_SETTINGS)
    except AgentError as error:
        click.echo(f"harmony-agent: {redact(str(error))}", err=True)
        sys.exit(EXIT_FAILURE)
