"""`check`: tests everything configured, for real."""

import asyncio
import json
import sys

import click

from harmony_agent.cli.options import load_with, settings_options
from harmony_agent.core.redaction import redact
from harmony_agent.lifecycle import agent_log
from harmony_agent.lifecycle.health import Condition, Level

__all__ = ["check"]

_MARKS = {Level.OK: "ok     ", Level.TROUBLE: "warning", Level.FAILED: "FAILED "}


@click.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="print the findings as JSON")
def check(*, as_json: bool, **flags: str | None) -> None:
    """Test everything configured, for real: write, read, log in, verify; fails if anything does."""
    settings, warnings = load_with(flags)
    agent_log.configure(settings.log_format, "error")
    from harmony_agent.agent.checks import run_checks  # noqa: PLC0415 - brings all SDKs along

    async def collect() -> list[Condition]:
        found = []
        async for finding in run_checks(settings, warnings):
            found.append(finding)
            if not as_json:
                click.echo(redact(f"{_MARKS[finding.level]}  {finding.name}: {finding.message}"))
        return found

    findings = asyncio.run(collect())
    if as_json:
        rows = [{"check": f.name, "level": f.level, "message": f.message} for f in findings]
        click.echo(redact(json.dumps({"findings": rows}, indent=2)))
    if any(finding.level is Level.FAILED for finding in findings):
        sys.exit(1)
