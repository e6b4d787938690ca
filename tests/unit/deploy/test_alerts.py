"""The alert rules ask for metrics that the agent has, and promtool finds them right."""

import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from harmony_agent.license.machine import State
from harmony_agent.lifecycle.health import Health
from harmony_agent.sync.decisions.policies import Act
from harmony_agent.web.metrics import Exposition

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = MONITORING / "harmony-agent.rules.yml"
TESTS = MONITORING / "harmony-agent.rules.test.yml"
PROMTOOL = ROOT / ".servers" / "promtool" / "promtool"


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    """All alerts."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """The names of all metrics, counters with `_total`."""
    for package in ("license", "logs", "logs.systems", "repositories", "sync", "web"):
        import_module(f"harmony_agent.{package}.metrics")
    text = Exposition(Health()).text().decode()
    return set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))


def test_every_metric_that_a_rule_asks_for_exists(
    rules: list[dict[str, Any]], exposed: set[str]
) -> None:
    """A renamed metric would make an alert silent for ever."""
    for rule in rules:
        asked = set(re.findall(r"harmony_agent_\w+", rule["expr"]))
        assert asked <= exposed, rule["alert"]


def test_every_label_value_that_a_rule_asks_for_exists(rules: list[dict[str, Any]]) -> None:
    """So would a renamed state or act."""
    known: dict[str, set[str]] = {
        "state": {str(state) for state in State},
        "act": {str(act) for act in Act},
        "result": {"sent", "failed"},
        "level": {"trouble", "failed"},
        "name": {"lease"},
    }
    for rule in rules:
        for label, value in re.findall(r'(\w+)="(\w+)"', rule["expr"]):
            assert value in known[label], rule["alert"]


def test_every_alert_says_how_urgent_it_is_and_what_it_means(rules: list[dict[str, Any]]) -> None:
    """Names are unique, and each has a test of its own."""
    names = [rule["alert"] for rule in rules]
    assert len(set(names)) == len(names)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}
    tests = yaml.safe_load(TESTS.read_text())["tests"]
    fired = {
        case["alertname"] for t in tests for case in t["alert_rule_test"] if case["exp_alerts"]
    }
    assert fired == set(names)


@pytest.mark.server
@pytest.mark.parametrize(("command", "file"), [("check", RULES), ("test", TESTS)])
def test_promtool_is_content(command: str, file: Path) -> None:
    """The rules parse, and each alert comes when it should and not when it should not."""
    ended = subprocess.run(
        [PROMTOOL, command, "rules", file], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
