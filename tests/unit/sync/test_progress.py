"""How far a long pass has come."""

import logging

import pytest

from harmony_agent.sync.progress import Progress


class Pass:
    """A pass by a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.beats = 0
        self.progress = Progress("configuration", beat=self._beat, clock=lambda: self.now)

    def _beat(self) -> None:
        self.beats += 1


def test_files_bytes_and_speed_are_shown_while_a_pass_is_under_way() -> None:
    """Before and after it there is nothing to show."""
    under = Pass()
    assert under.progress.section() == {}
    under.progress.ahead(10, 10_000)
    under.now += 2
    under.progress.moved(4000)
    under.progress.dealt_with()
    assert under.progress.section() == {
        "files": 1,
        "allFiles": 10,
        "movedBytes": 4000,
        "allBytes": 10_000,
        "bytesPerSecond": 2000,
    }
    under.progress.ended()
    assert under.progress.section() == {}


def test_rounds_of_one_pass_add_up() -> None:
    """What is left after a round counts on top of what is done."""
    under = Pass()
    under.progress.ahead(3, 300)
    under.progress.dealt_with()
    under.progress.ahead(2, 200)
    assert under.progress.section()["allFiles"] == 3
    under.progress.began()
    under.progress.ahead(1, 10)
    assert under.progress.section()["files"] == 0


def test_a_long_pass_is_told_every_five_seconds(caplog: pytest.LogCaptureFixture) -> None:
    """Each step is a sign of life; the log gets one line in five seconds."""
    caplog.set_level(logging.INFO)
    under = Pass()
    under.progress.ahead(100, 100 * 1024 * 1024)
    for _ in range(50):
        under.now += 0.25
        under.progress.moved(1024 * 1024)
        under.progress.dealt_with()
    assert under.beats == 100
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0] == "configuration: 19 of 100 files, 20.0 of 100.0 MiB, 4.0 MiB/s"
