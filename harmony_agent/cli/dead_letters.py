"""`harmony-agent dead-letters`: events that the log system would not take."""

import json
from pathlib import Path

import click

from harmony_agent.cli.control import ask, state_dir_option

__all__ = ["dead_letters"]

_RESEND_LIMIT = 600.0  # seconds


@click.group("dead-letters")
def dead_letters() -> None:
    """See, send again or remove log events that the log system will never take."""


@dead_letters.command("list")
@state_dir_option
@click.option("-n", "--count", default=100, show_default=True, help="how many, the newest")
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line")
def list_(state_dir: Path, *, count: int, as_json: bool) -> None:
    """List them, oldest first: id, time, severity, element, and the log system's reason."""
    answer = ask(state_dir, "POST", "/control/dead-letters/list", body={"count": count})
    for one in answer["letters"]:
        if as_json:
            click.echo(json.dumps(one, ensure_ascii=False))
        else:
            click.echo(
                f"{one['id']} {one['time']} {one['severity']:<8} {one['element']}: {one['reason']}"
            )
    if not as_json:
        click.echo(f"{len(answer['letters'])} of {answer['total']} dead letters")


@dead_letters.command()
@state_dir_option
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
def show(state_dir: Path, ids: tuple[str, ...]) -> None:
    """Print whole events with their reasons, as JSON."""
    answer = ask(state_dir, "POST", "/control/dead-letters/show", body={"ids": list(ids)})
    click.echo(json.dumps(answer["letters"], ensure_ascii=False, indent=2))
    _tell_unknown(len(ids) - len(answer["letters"]))


@dead_letters.command()
@state_dir_option
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option("--all", "every", is_flag=True, help="all of them")
def resend(state_dir: Path, ids: tuple[str, ...], *, every: bool) -> None:
    """Send events once more, under the same ids; what is refused again remains.

    For a log system that was set right meanwhile. Fails if one is refused.
    """
    body = _chosen(ids, every=every)
    answer = ask(state_dir, "POST", "/control/dead-letters/resend", body=body, limit=_RESEND_LIMIT)
    click.echo(f"{answer['taken']} sent")
    for one in answer["refused"]:
        click.echo(f"{one['id']} refused again: {one['reason']}")
    if answer["refused"]:
        raise SystemExit(1)
    if not every:
        _tell_unknown(len(ids) - answer["taken"])


@dead_letters.command()
@state_dir_option
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option("--all", "every", is_flag=True, help="all of them")
def remove(state_dir: Path, ids: tuple[str, ...], *, every: bool) -> None:
    """Forget events for good."""
    body = _chosen(ids, every=every)
    answer = ask(state_dir, "POST", "/control/dead-letters/remove", body=body)
    click.echo(f"{answer['removed']} removed")
    if not every:
        _tell_unknown(len(ids) - answer["removed"])


def _chosen(ids: tuple[str, ...], *, every: bool) -> dict[str, object]:
    if bool(ids) == every:
        raise click.UsageError("name events by their ids, or say --all")
    return {"all": True} if every else {"ids": list(ids)}


def _tell_unknown(count: int) -> None:
    if count:
        click.echo(f"harmony-agent: {count} of these ids are no dead letters", err=True)
        raise SystemExit(1)
