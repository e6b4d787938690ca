"""Small commands that need no running agent: `serial`, `vlproxy-pattern`, `install-guard`, …"""

from pathlib import Path

import click

from harmony_agent import __version__
from harmony_agent.cli.options import load_with, settings_options
from harmony_agent.core.errors import Refused
from harmony_agent.license.serial import instance_serial
from harmony_agent.license.serial import vlproxy_pattern as pattern_of
from harmony_agent.lifecycle.guard import install_guard as copy_guard
from harmony_agent.settings.model import Settings

__all__ = ["install_guard", "serial", "version", "vlproxy_pattern"]


def _serial_of(settings: Settings) -> str:
    found = settings.license.serial if settings.license else None
    if found is None:
        raise Refused(
            "the serial is not known here: set HARMONY_AGENT_SERIAL, or mount the secret file "
            "cleo-license-serial"
        )
    return found


@click.command()
@settings_options
def serial(**flags: str | None) -> None:
    """Print this node's instance serial."""
    settings, _ = load_with(flags)
    click.echo(instance_serial(_serial_of(settings), settings.host))


@click.command("vlproxy-pattern")
@settings_options
def vlproxy_pattern(**flags: str | None) -> None:
    """Print the pattern for VLProxy's serial numbers property."""
    settings, _ = load_with(flags)
    click.echo(pattern_of(_serial_of(settings)))


@click.command("install-guard")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def install_guard(directory: Path) -> None:
    """Copy harmony-guard into DIRECTORY, a volume shared with Harmony's container."""
    click.echo(copy_guard(directory))


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"harmony-agent {__version__}")
