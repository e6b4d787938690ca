"""`conflicts`: the versions of files that gave way to another one, of all nodes."""

import difflib
import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from harmony_agent.cli.control import ask, state_dir_option

__all__ = ["conflicts"]

_LIMIT = 600.0  # seconds; a kept version may be large, and its repository slow


@click.group()
def conflicts() -> None:
    """Look after versions of files that gave way to another node's.

    Where two nodes change a file at the same time, the repository keeps the version that arrives
    first for all nodes. The other one goes to the conflict store for 30 days. VERSION is a key as
    `list` prints it, or Harmony's path of the file if one version of it is kept.
    """


@conflicts.command("list")
@state_dir_option
@click.option("--json", "as_json", is_flag=True, help="print the list as JSON")
def list_all(state_dir: Path, *, as_json: bool) -> None:
    """List what is kept, oldest first."""
    found = ask(state_dir, "POST", "/control/conflicts/list", limit=_LIMIT)["conflicts"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not found:
        click.echo("no conflicts", err=True)
    else:
        for line in _table(found):
            click.echo(line)


def _table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [("TIME", "NODE", "BYTES", "VERSION")]
    rows += [(c["time"], c["host"], str(c["sizeBytes"]), c["key"]) for c in found]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        f"{time:<{widths[0]}}  {host:<{widths[1]}}  {size:>{widths[2]}}  {key}"
        for time, host, size, key in rows
    ]


@conflicts.command()
@state_dir_option
@click.option("--diff", is_flag=True, help="print how it differs from the file in this home")
@click.argument("version")
def show(state_dir: Path, version: str, *, diff: bool) -> None:
    """Print the content of VERSION."""
    found = _about("show", state_dir, version)
    kept = b64decode(found["content"])
    if not diff:
        click.echo(kept, nl=False)
        return
    present = b64decode(found["present"]) if found["present"] is not None else None
    for line in _difference(found["path"], present, found["key"], kept):
        click.echo(line)


def _difference(path: str, present: bytes | None, key: str, kept: bytes) -> Iterator[str]:
    """What `diff --unified` prints from the file at `path` (None: there is none) to the kept
    version; of what is no text only that it differs."""
    if present == kept:
        return
    if present is None:
        click.echo(f"{path} is not in this home, or is too large to compare", err=True)
        present = b""
    try:
        before, after = present.decode().splitlines(), kept.decode().splitlines()
    except UnicodeDecodeError:
        yield f"{path} ({len(present)} bytes) and {key} ({len(kept)} bytes) differ and are no text"
        return
    yield from difflib.unified_diff(before, after, path, key, lineterm="")


@conflicts.command()
@state_dir_option
@click.argument("version")
def restore(state_dir: Path, version: str) -> None:
    """Make VERSION the present one: it is written into this node's home and travels to all nodes
    as any change does. The version it replaces is kept."""
    done = _about("restore", state_dir, version)
    click.echo(f"{done['path']} is restored")
    if done["replaced"]:
        click.echo(f"the version it replaced is kept as {done['replaced']}")


@conflicts.command()
@state_dir_option
@click.argument("version")
def remove(state_dir: Path, version: str) -> None:
    """Delete VERSION for good."""
    click.echo(f"{_about('remove', state_dir, version)['key']} is removed")


def _about(command: str, state_dir: Path, version: str) -> dict[str, Any]:
    body = {"version": version}
    return ask(state_dir, "POST", f"/control/conflicts/{command}", body=body, limit=_LIMIT)
