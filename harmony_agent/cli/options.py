"""Options that several commands share, made from the table of variables."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from harmony_agent.settings import Settings, load
from harmony_agent.settings.report import Mistake
from harmony_agent.settings.variables import VARIABLES

__all__ = ["load_with", "settings_options", "state_dir_option"]

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(command: F) -> F:
    """Every setting that is no secret, as a flag; a flag wins over its variable."""
    for variable in reversed(VARIABLES):
        if not variable.secret:
            default = f", default {variable.default}" if variable.default else ""
            command = click.option(
                variable.flag,
                variable.key,
                metavar="VALUE",
                help=f"{variable.meaning} [{variable.name}{default}]",
            )(command)
    return command


def state_dir_option(command: F) -> F:
    """Where the running agent keeps its control socket."""
    return click.option(
        "--state-dir",
        envvar="HARMONY_AGENT_STATE_DIR",
        default="/var/lib/harmony-agent",
        type=click.Path(path_type=Path),
        help="state directory of the running agent [HARMONY_AGENT_STATE_DIR]",
    )(command)


def load_with(flags: dict[str, str | None]) -> tuple[Settings, tuple[Mistake, ...]]:
    """Settings and warnings from the environment and the flags that were given."""
    return load(os.environ, {key: value for key, value in flags.items() if value})
