"""Delivery to Datadog's intake: every documented answer and limit, on real sockets."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fixtures.datadog import DatadogStandIn
from harmony_agent.core.errors import OutcomeUnknown, Refused, Unavailable
from harmony_agent.logs.systems.connect import connect
from harmony_agent.logs.systems.interface import LogSystem
from harmony_agent.settings.model import DatadogLogSystem
from tests.unit.logs_systems.events import make_event, make_events


def _numbers(stand_in: DatadogStandIn) -> list[int]:
    return [entry["harmony"]["number"] for entry in stand_in.received]


async def test_entries_bear_reserved_attributes_and_the_event(
    datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """Datadog's own attributes are filled, and all of the event lies below one of ours."""
    now = datetime.now(UTC).replace(microsecond=123_000)
    event = make_event(1, time=now, severity="warning")
    assert (await datadog_system.send([event])).acknowledged == 1
    [entry] = datadog.received
    assert entry["message"] == event.message
    assert (entry["ddsource"], entry["service"]) == ("cleo-harmony", "harmony")
    assert (entry["hostname"], entry["status"]) == ("harmony-1", "warn")
    assert entry["ddtags"] == "system:System1,node:harmony-1"
    assert entry["timestamp"] == int(now.timestamp() * 1000)
    assert {**entry["harmony"], "message": event.message} == event.to_json()
    assert datadog.requests[0]["content-encoding"] == "gzip"


async def test_more_than_a_thousand_entries_are_split(
    datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """Upstream's example batchCount of 10,000 exceeds the intake's limit of 1,000."""
    assert (await datadog_system.send(make_events(2500))).acknowledged == 2500
    assert len(datadog.requests) == 3
    assert _numbers(datadog) == list(range(1, 2501))


async def test_more_than_five_megabytes_are_split(
    datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """The limit counts bytes before compression."""
    events = [make_event(n, message="x" * 900_000) for n in range(1, 13)]
    assert (await datadog_system.send(events)).acknowledged == 12
    assert len(datadog.requests) == 3


async def test_a_long_event_is_sent_in_parts_and_none_is_cut(
    datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """Datadog would cut a log beyond 1 MB and still answer 202."""
    message = "".join(f"line {n} ü \n" for n in range(250_000))
    event = make_event(1, time=datetime.now(UTC), message=message)
    receipt = await datadog_system.send([event])
    assert (receipt.acknowledged, receipt.dead) == (1, ())
    assert len(datadog.received) > 3
    assert "".join(log["message"] for log in datadog.indexed) == message
    parts = [(e["harmony"]["part"], e["harmony"]["parts"]) for e in datadog.received]
    assert parts == [(n, len(parts)) for n in range(1, len(parts) + 1)]


async def test_oversized_attributes_arrive_shortened_and_are_a_dead_letter(
    datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """Attributes can't be split: a shortened copy is sent, the whole event is kept."""
    event = make_event(1, attributes={"source": "\x01" * 2_000_000, "host": "ACME AS2"})
    receipt = await datadog_system.send([event, make_event(2)])
    assert receipt.acknowledged == 2
    assert [letter.event for letter in receipt.dead] == [event]
    assert datadog.received[0]["harmony"]["attributes"]["host"] == "ACME AS2"
    assert _numbers(datadog) == [1, 2]


async def test_old_and_future_events_get_a_fresh_timestamp(
    datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """Outside of 18 h back and 2 h ahead Datadog answers 202 and indexes nothing."""
    now = datetime.now(UTC)
    offsets = (timedelta(days=-3), timedelta(hours=-16), timedelta(0), timedelta(hours=5))
    events = [make_event(n, time=now + offset) for n, offset in enumerate(offsets)]
    await datadog_system.send(events)
    assert len(datadog.indexed) == 4
    late = [entry["harmony"].get("original_time") for entry in datadog.received]
    assert late == [events[0].to_json()["time"], None, None, events[3].to_json()["time"]]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_busy_intake_is_tried_again(
    status: int, datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """Transient answers raise Unavailable with the wait that was asked for."""
    datadog.faults.add(status=status, headers={"X-RateLimit-Reset": "9"})
    with pytest.raises(Unavailable, match=str(status)) as raised:
        await datadog_system.send(make_events(2))
    assert raised.value.retry_after == 9.0
    assert (await datadog_system.send(make_events(2))).acknowledged == 2


@pytest.mark.parametrize("status", [301, 401, 403, 404])
async def test_a_wrong_configuration_is_held_and_told(
    status: int, datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """What a person has to deal with raises Refused: nothing is dropped."""
    datadog.faults.add(status=status)
    with pytest.raises(Refused, match=str(status)):
        await datadog_system.send(make_events(2))


async def test_a_wrong_key_is_held_and_never_shown(
    datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """A revoked key alarms; its message names the setting, not the key."""
    datadog.api_key = "another"
    with pytest.raises(Refused, match="check apiKey") as raised:
        await datadog_system.send(make_events(2))
    assert "dd-api-key" not in str(raised.value)
    with pytest.raises(Refused, match="check apiKey"):
        await datadog_system.probe()


async def test_a_request_that_is_too_large_is_halved(
    datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """413 is answered by smaller requests, not by giving up."""
    datadog.faults.add(status=413, times=2)
    assert (await datadog_system.send(make_events(8))).acknowledged == 8
    assert _numbers(datadog) == list(range(1, 9))


async def test_poisoned_events_are_found_by_halving(
    datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """400 tells nothing about single entries; a refused request stored nothing."""
    datadog.poison = "POISON"
    events = make_events(40)
    events[5].message = events[31].message = "POISON"
    receipt = await datadog_system.send(events)
    assert receipt.acknowledged == 40
    assert [letter.event.number for letter in receipt.dead] == [6, 32]
    assert _numbers(datadog) == [n for n in range(1, 41) if n not in (6, 32)]


async def test_what_was_sent_before_a_failure_is_not_sent_again(
    datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """The receipt counts the requests that went through; only the rest comes again."""
    events = make_events(1500)
    datadog.faults.add(status=0)  # the first request passes
    datadog.faults.add(status=503, headers={"Retry-After": "4"})
    receipt = await datadog_system.send(events)
    assert (receipt.acknowledged, receipt.pause) == (1000, 4.0)
    await datadog_system.send(events[1000:])
    assert _numbers(datadog) == list(range(1, 1501))


async def test_a_lost_answer_leaves_the_outcome_unknown(
    datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """The events may be stored: the caller has to send them again, by the same ids."""
    datadog.faults.add(lose=True)
    with pytest.raises(OutcomeUnknown):
        await datadog_system.send(make_events(1))
    await datadog_system.send(make_events(1))
    assert _numbers(datadog) == [1, 1]


async def test_probe_proves_both_keys(
    datadog: DatadogStandIn,
    datadog_system: LogSystem,
    datadog_settings: DatadogLogSystem,
    tmp_path: Path,
) -> None:
    """`check` tells which key is wrong, and works without an application key."""
    assert "may read logs" in await datadog_system.probe()
    datadog.may_read = False
    with pytest.raises(Refused, match="logs_read_data"):
        await datadog_system.probe()
    datadog.faults.add(path="/api/v1/validate", status=503)
    with pytest.raises(Unavailable):
        await datadog_system.probe()
    settings = replace(datadog_settings, app_key=None)
    system = connect(settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    try:
        assert "retrieval is not configured" in await system.probe()
    finally:
        await system.close()
