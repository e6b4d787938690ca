"""The settings as options, made from the table of variables."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from harmony_agent.settings.load import load
from harmony_agent.settings.model import Settings
from harmony_agent.settings.report import Mistake
from harmony_agent.settings.variables import VARIABLES

__all__ = ["load_with", "settings_options"]

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


def load_with(flags: dict[str, str | None]) -> tuple[Settings, tuple[Mistake, ...]]:
    """Settings and warnings from the environment and the flags that were given."""
    return load(os.environ, {key: value for key, value in flags.items() if value})
