"""How long a command may take."""

import click

from harmony_agent.settings.values import duration

__all__ = ["limit_of"]


def limit_of(timeout: str) -> float:
    """The seconds of `--timeout`. Raises click.BadParameter."""
    try:
        return duration(timeout)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from error
