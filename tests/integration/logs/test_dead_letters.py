"""Dead letters: kept once, within bounds, found, sent again and forgotten."""

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harmony_agent.core.errors import Unavailable
from harmony_agent.logs import metrics
from harmony_agent.logs.event import Event
from harmony_agent.logs.pipeline.dead_letters import DeadLetters
from harmony_agent.logs.pipeline.resend import resend
from harmony_agent.logs.systems.current import CurrentLogSystem
from harmony_agent.logs.systems.interface import DeadLetter, Receipt
from tests.integration.logs.scripted import ScriptedLogSystem


def letter(number: int, reason: str = "odd", message: str = "hello") -> DeadLetter:
    """A dead letter whose event's id is its number."""
    event = Event(
        f"{number}", datetime(2026, 3, 10, tzinfo=UTC), "S", "n", None, "", number, None, None,
        "Detail", "info", message,
    )  # fmt: skip
    return DeadLetter(event, reason)


@pytest.fixture
async def letters(tmp_path: Path) -> AsyncIterator[DeadLetters]:
    """A store for some 4 KB."""
    store = DeadLetters(tmp_path, most_bytes=4000)
    yield store
    await store.close()


async def test_each_event_is_kept_once_with_the_latest_reason(letters: DeadLetters) -> None:
    """A batch that is sent again after a kill brings the same letters again."""
    await letters.keep([letter(1), letter(2)])
    await letters.keep([letter(2, "odder"), letter(3)])
    assert letters.count == 3
    assert [(k.event, k.reason) for k in await letters.newest(9)] == [
        (letter(1).event, "odd"),
        (letter(2).event, "odder"),
        (letter(3).event, "odd"),
    ]
    assert [kept.event.id for kept in await letters.newest(1)] == ["3"]


async def test_they_survive_the_process(letters: DeadLetters, tmp_path: Path) -> None:
    """A new process knows how many there are before it is asked for them."""
    await letters.keep([letter(1), letter(2, message="\ud800 and " + "ä")])
    again = DeadLetters(tmp_path)
    await again.load()
    assert again.count == 2
    assert [kept.event for kept in await again.find(["2", "no such"])] == [
        letter(2, message="\ud800 and " + "ä").event
    ]
    await again.close()


async def test_the_oldest_make_room(letters: DeadLetters, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the bound the oldest go, which is counted and told; the newest stays, however big."""
    before = metrics.DEAD_DROPPED._value.get()
    await letters.keep([letter(n, message="x" * 1000) for n in range(6)])
    assert [kept.event.id for kept in await letters.newest(9)] == ["3", "4", "5"]
    assert letters.dropped == 3
    await letters.keep([letter(9, message="x" * 9000)])
    assert [kept.event.id for kept in await letters.newest(9)] == ["9"]
    assert letters.count == 1
    assert metrics.DEAD_DROPPED._value.get() - before == 6
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert told == ["3 of the oldest dead letters are dropped to make room"] * 2


async def test_removed_is_gone(letters: DeadLetters) -> None:
    """What a person has dealt with is forgotten; unknown ids are none."""
    await letters.keep([letter(1), letter(2), letter(3)])
    assert await letters.remove(["1", "3", "77"]) == 2
    assert await letters.ids() == ["2"]
    assert letters.count == 1


async def test_resending_keeps_what_is_refused_again(letters: DeadLetters) -> None:
    """Taken events are letters no more; what is refused remains with its new reason; a part that
    was not acknowledged is sent again."""
    await letters.keep([letter(n) for n in range(4)])
    system = ScriptedLogSystem(
        lambda events: Receipt(2, (DeadLetter(events[1], "still odd"),)),
    )
    resent = await resend(letters, CurrentLogSystem(system), await letters.ids())
    assert resent.taken == 3
    assert [(one.event.id, one.reason) for one in resent.refused] == [("1", "still odd")]
    assert [(k.event.id, k.reason) for k in await letters.newest(9)] == [("1", "still odd")]
    assert [event.id for event in system.received] == ["0", "2", "3"]


async def test_resending_to_a_log_system_that_is_down_loses_nothing(letters: DeadLetters) -> None:
    """The asker learns of it, and all letters remain."""
    await letters.keep([letter(1), letter(2)])
    system = ScriptedLogSystem(Unavailable("connection refused"))
    with pytest.raises(Unavailable, match="connection refused"):
        await resend(letters, CurrentLogSystem(system), ["1", "2"])
    assert await letters.ids() == ["1", "2"]
