"""Commands that ask a running agent: `status`, `logs`, `sync`, `wait`."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from harmony_agent.cli.control import NotRunning, ask, state_dir_option
from harmony_agent.cli.limits import limit_of
from harmony_agent.cli.sync_report import report_lines

__all__ = ["logs", "status", "sync", "wait"]

_MARKS = {"ok": "+", "trouble": "!", "failed": "-"}
_POLL = 0.5  # seconds


@click.command()
@state_dir_option
@click.option("--json", "as_json", is_flag=True, help="print the status as JSON")
def status(state_dir: Path, *, as_json: bool) -> None:
    """Tell how the running agent fares; fails if none runs or one of its loops stands still."""
    found = ask(state_dir, "GET", "/api/status")
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for condition in found.pop("conditions", []):
            mark = _MARKS.get(condition["level"], "?")
            message = f": {condition['message']}" if condition["message"] else ""
            click.echo(f"[{mark}] {condition['name']}{message}")
        for line in _outline(found):
            click.echo(line)
    if not found.get("live", True):
        sys.exit(1)


def _outline(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{key}:"
            yield from _outline(value, indent + "  ")
        elif isinstance(value, list) and value:
            yield f"{indent}{key}:"
            for item in value:
                yield f"{indent}  - {_inline(item)}"
        elif value not in (None, "", [], {}):
            yield f"{indent}{key}: {value}"


def _inline(item: Any) -> str:
    if isinstance(item, Mapping):
        return ", ".join(f"{key} {value}" for key, value in item.items() if value is not None)
    return str(item)


@click.command()
@state_dir_option
@click.option("--since", help="first moment: RFC 3339, epoch seconds, or -15m")
@click.option("--until", help="moment after the last: as --since")
@click.option("--node", help="only this node")
@click.option("--severity", help="comma list of debug, info, warning, error, critical")
@click.option("--element", help="only this element, such as Result")
@click.option("--thread", help="only this thread")
@click.option("--host", help="only this Harmony host")
@click.option("--mailbox", help="only this mailbox")
@click.option("--text", help="words that the message holds")
@click.option("-n", "--count", default=100, show_default=True, help="how many events")
@click.option("-f", "--follow", is_flag=True, help="go on with new events until Ctrl-C")
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line")
def logs(
    state_dir: Path,
    *,
    count: int,
    follow: bool,
    as_json: bool,
    since: str | None,
    until: str | None,
    **filters: str | None,
) -> None:
    """Fetch log events back from the log system, oldest first."""
    params = {key: value for key, value in filters.items() if value}
    if until:
        params["to"] = until
    latest = {**params, "order": "desc", "count": str(count)}
    if since:
        latest["from"] = since
    events = list(reversed(ask(state_dir, "GET", "/api/logs", params=latest)["resources"]))
    _print_events(events, as_json=as_json)
    seen = {event["id"] for event in events}
    while follow:
        time.sleep(_POLL)
        newest = events[-1]["time"] if events else since or "-1m"
        fresh = [e for e in _forward(state_dir, params, newest) if e["id"] not in seen]
        _print_events(fresh, as_json=as_json)
        seen.update(event["id"] for event in fresh)
        events = fresh or events


def _forward(state_dir: Path, params: Mapping[str, str], since: str) -> Iterator[dict[str, Any]]:
    """All events from `since` (inclusive) on, in order, page by page."""
    page_params = {**params, "from": since, "order": "asc", "count": "1000"}
    while True:
        page = ask(state_dir, "GET", "/api/logs", params=page_params)
        yield from page["resources"]
        if not page.get("next"):
            return
        page_params["cursor"] = page["next"]


def _print_events(events: list[dict[str, Any]], *, as_json: bool) -> None:
    for event in events:
        if as_json:
            click.echo(json.dumps(event, ensure_ascii=False))
        else:
            thread = f" [{event['thread']}]" if event.get("thread") else ""
            click.echo(
                f"{event['time']} {event['severity']:<8} {event['node']}{thread} "
                f"{event['element']}: {event['message']}"
            )


@click.command()
@state_dir_option
@click.option("--once", is_flag=True, required=True, help="one pass now (the agent syncs anyway)")
@click.option("--dry-run", is_flag=True, help="print what would be done, do nothing")
@click.option("--accept-deletes", is_flag=True, help="let held deletes through this time")
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON")
def sync(
    state_dir: Path, *, once: bool, dry_run: bool, accept_deletes: bool, as_json: bool
) -> None:
    """Have the running agent bring home and repositories in step now."""
    body = {"dryRun": dry_run, "acceptDeletes": accept_deletes}
    report = ask(state_dir, "POST", "/control/sync", body=body, limit=600.0)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        for line in report_lines(report):
            click.echo(line)


@click.command()
@state_dir_option
@click.option("--timeout", default="10m", show_default=True, help="give up after this long")
def wait(state_dir: Path, timeout: str) -> None:
    """Block until the agent has started: Harmony may start then."""
    deadline = time.monotonic() + limit_of(timeout)
    while True:
        try:
            if ask(state_dir, "GET", "/api/status", limit=5.0).get("started"):
                return
        except NotRunning:
            pass
        if time.monotonic() >= deadline:
            click.echo(f"harmony-agent: not started within {timeout}", err=True)
            sys.exit(1)
        time.sleep(_POLL)
