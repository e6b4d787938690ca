"""Secrets are starred in whatever leaves the process."""

import logging

import pytest

from harmony_agent.core.redaction import conceal, redact
from harmony_agent.lifecycle import agent_log


def test_concealed_values_become_stars_longest_first() -> None:
    """A secret that contains another leaves no rest behind; other text is untouched."""
    conceal("hunter2", "hunter2-and-more")
    assert redact("a hunter2-and-more b hunter2 c") == "a ******** b ******** c"
    assert redact("nothing here") == "nothing here"


@pytest.mark.parametrize("style", ["json", "text"])
def test_the_agents_own_log_shows_no_secret(
    style: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Message, fields and exception text of a log line are starred in both styles."""
    conceal("pa55word")
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    agent_log.configure(style, "info")
    try:
        raise ValueError("it was pa55word")
    except ValueError:
        logging.getLogger("harmony_agent.x").exception("with pa55word", extra={"url": "pa55word@h"})
    finally:
        logging.captureWarnings(capture=False)
    shown = capsys.readouterr().err
    assert "pa55word" not in shown
    assert "********" in shown
    assert "ValueError" in shown
