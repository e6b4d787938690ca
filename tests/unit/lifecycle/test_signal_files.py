"""The files shared with Harmony's container."""

import json
from pathlib import Path

import pytest

from harmony_agent.lifecycle.drain import Deadline, harmony_gone
from harmony_agent.lifecycle.signals import ExitSignal, SignalDirectory


def test_the_exit_file_holds_what_the_contract_names(tmp_path: Path) -> None:
    """Reason, message, code and time, readable for other users, and gone when cleared."""
    signals = SignalDirectory(tmp_path)
    signals.tell_exit(ExitSignal("grace-over", "the grace period is over"))
    body = json.loads((tmp_path / "exit").read_text())
    assert body["reason"] == "grace-over"
    assert body["message"] == "the grace period is over"
    assert body["code"] == 77
    assert body["time"].endswith("+00:00")
    assert (tmp_path / "exit").stat().st_mode & 0o004
    assert signals.exit_told()
    signals.clear_exit()
    assert not signals.exit_told()
    signals.clear_exit()


def test_ready_can_be_told_again_and_withdrawn(tmp_path: Path) -> None:
    """`ready` is idempotent in both directions."""
    signals = SignalDirectory(tmp_path)
    signals.withdraw_ready()
    signals.tell_ready()
    signals.tell_ready()
    assert signals.is_ready()
    signals.withdraw_ready()
    assert not signals.is_ready()


@pytest.mark.looptime
async def test_waiting_for_harmony_ends_at_the_deadline_or_when_it_is_gone() -> None:
    """A Harmony that stays uses up the limit and no more; one that goes ends the wait."""
    deadline = Deadline(25)
    assert not await harmony_gone(lambda: True, deadline.reserve(5))
    assert deadline.left() == pytest.approx(5)
    answers = iter([True, True, False])
    assert await harmony_gone(lambda: next(answers), None)
    assert await harmony_gone(lambda: False, 0)
