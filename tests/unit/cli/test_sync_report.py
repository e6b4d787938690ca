"""What `sync --once` prints."""

from typing import Any

from harmony_agent.cli.sync_report import report_lines
from harmony_agent.sync.decisions.policies import Act

_NOTHING: dict[str, Any] = {"held": {}, "waiting": [], "unconfirmed": [], "failed": {}}


def test_files_stand_by_what_was_done_and_held_ones_with_their_reason() -> None:
    """One block per side; what is empty is not printed."""
    report = {
        "configuration": {
            "done": {"create": ["hosts/a.xml"], "withdraw": ["certs/b"]},
            "held": {"hosts/c.xml": "one of too many deletes"},
            "waiting": ["hosts/d.xml"],
            "unconfirmed": ["hosts/e.xml"],
            "failed": {"hosts/f.xml": "the disk is full"},
        },
        "runtime": {"done": {}, **_NOTHING},
    }
    assert list(report_lines(report)) == [
        "configuration: done",
        "  1 new in the repository:",
        "    hosts/a.xml",
        "  1 removed from home, a copy is in the state directory:",
        "    certs/b",
        "  1 held; nothing is done:",
        "    hosts/c.xml: one of too many deletes",
        "  1 failed; tried again:",
        "    hosts/f.xml: the disk is full",
        "  1 waiting until they are at rest:",
        "    hosts/d.xml",
        "  1 missing in the repository, waiting until that is certain:",
        "    hosts/e.xml",
        "runtime: done",
        "  nothing: home and repository are in step",
    ]


def test_a_plan_says_that_nothing_was_done_yet() -> None:
    """And a long list is cut, with its length told."""
    files = [f"hosts/{index:03}.xml" for index in range(60)]
    lines = list(report_lines({"configuration": {"planned": {"fetch": files}, **_NOTHING}}))
    assert lines[:2] == ["configuration: would do", "  60 new in home:"]
    assert lines[-1] == "    and 10 more"
    assert len(lines) == 2 + 50 + 1


def test_every_act_has_words_of_its_own() -> None:
    """Nobody has to know what the code calls it."""
    for act in set(Act) - {Act.HOLD}:
        report = {"configuration": {"done": {act.value: ["hosts/a.xml"]}, **_NOTHING}}
        assert f"  1 {act.value}:" not in list(report_lines(report))
