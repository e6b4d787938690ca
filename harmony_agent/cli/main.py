"""All commands under one roof, and what becomes of an error."""

import sys
from importlib import import_module
from typing import Final

import click

from harmony_agent import __version__
from harmony_agent.core.errors import AgentError
from harmony_agent.core.redaction import redact
from harmony_agent.settings.report import SettingsError

__all__ = ["main"]

EXIT_FAILURE = 1
EXIT_SETTINGS = 78


# What a command needs is imported when it is called: `status` and `wait` are called every few
# seconds by probes.
_COMMANDS: Final = {
    "run": "running",
    "init": "running",
    "check": "checking",
    "status": "asking",
    "logs": "asking",
    "dead-letters": "dead_letters",
    "sync": "asking",
    "conflicts": "conflicts",
    "wait": "asking",
    "drain": "draining",
    "serial": "inspecting",
    "vlproxy-pattern": "inspecting",
    "install-guard": "inspecting",
    "version": "inspecting",
}


class _Commands(click.Group):
    """All commands, by the module that holds each under its own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"harmony_agent.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="harmony-agent %(version)s")
def _commands() -> None:
    """Sidecar for Cleo Harmony containers."""


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
