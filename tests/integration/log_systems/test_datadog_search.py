"""Retrieval from Datadog with the real datadog-api-client over TLS."""

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fixtures.datadog import DatadogStandIn
from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.logs.event import Event
from harmony_agent.logs.query import Page, Query, QueryError
from harmony_agent.logs.systems.connect import connect
from harmony_agent.logs.systems.interface import LogSystem
from harmony_agent.settings.model import DatadogLogSystem
from tests.unit.logs_systems.events import make_event

HOSTILE = 'x" OR service:* -"\\ (a) @b:[1 TO 2] && \n ü'
NOW = datetime.now(UTC).replace(microsecond=123_000) - timedelta(hours=2)


def _recent(number: int, **changes: object) -> Event:
    return make_event(number, **{"time": NOW + timedelta(seconds=number), **changes})


def _numbers(page: Page) -> list[int]:
    return [event["number"] for event in page.resources]


async def _send(system: LogSystem, *events: Event) -> None:
    receipt = await system.send(events)
    assert receipt.acknowledged == len(events)


async def test_events_come_back_as_they_were_sent(datadog_system: LogSystem) -> None:
    """Field by field the same JSON, though Datadog drops nulls and nests dots."""
    events = [
        _recent(1),
        _recent(2, message='a "quoted"\nline \\ ü', thread=None, attributes={}),
        _recent(3, serial=None, command="PUT a.edi", attributes={"file.name.x": "<&>", "a": ""}),
    ]
    await _send(datadog_system, *events)
    page = await datadog_system.search(Query())
    assert page.resources == [event.to_json() for event in reversed(events)]
    assert (page.total, page.next) == (3, None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(node="harmony-2"), [2]),
        (Query(severities=("error", "warning")), [4, 3, 1]),
        (Query(element="File"), [3]),
        (Query(thread="<send>box1@ACME AS2"), [3, 2, 1]),
        (Query(host="ACME AS2", mailbox="box2"), [4]),
        (Query(host="acme as2"), []),
        (Query(node="harmony*"), []),
        (Query(text="REFUSED 550"), [3, 1]),
        (Query(text="refuse"), []),
        (Query(text="log see"), [2]),
        (Query(since=NOW + timedelta(seconds=2), until=NOW + timedelta(seconds=4)), [3, 2]),
        (Query(order="asc", count=2), [1, 2]),
        (Query(start_index=1, count=2), [3, 2]),
        (Query(thread=HOSTILE), [4]),
    ],
    ids=lambda value: str(value) if isinstance(value, list) else "",
)
async def test_filters_find_what_they_say(
    query: Query, expected: list[int], datadog_system: LogSystem
) -> None:
    """The same questions as to Splunk have the same answers."""
    await _send(
        datadog_system,
        _recent(1),
        _recent(2, node="harmony-2", severity="info", message="refused:\nsee log"),
        _recent(3, severity="warning", element="File", message='Refused "550"'),
        _recent(4, thread=HOSTILE, attributes={"host": "ACME AS2", "mailbox": "box2"}, message="x"),
    )
    assert _numbers(await datadog_system.search(query)) == expected


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_neither_repeat_nor_skip(order: str, datadog_system: LogSystem) -> None:
    """Also with repeats from a retry, and with many events in one second."""
    events = [_recent(n, time=NOW + timedelta(seconds=n // 10)) for n in range(1, 36)]
    await _send(datadog_system, *events)
    await _send(datadog_system, *events[10:20])
    seen: list[int] = []
    query = Query(order="asc" if order == "asc" else "desc", count=8)
    totals = set()
    for _ in range(10):
        page = await datadog_system.search(query)
        seen += _numbers(page)
        totals.add(page.total)
        if page.next is None:
            break
        query = Query(order=query.order, count=8, cursor=page.next)
    assert sorted(seen) == list(range(1, 36))
    seconds = [n // 10 for n in seen]
    assert seconds == sorted(seconds, reverse=order == "desc")
    assert totals == {45}


async def test_a_start_index_is_walked_to(
    datadog: DatadogStandIn, datadog_system: LogSystem
) -> None:
    """Datadog knows only cursors: the walk takes a thousand logs a step."""
    events = [_recent(n, time=NOW + timedelta(milliseconds=n)) for n in range(2600)]
    await _send(datadog_system, *events)
    page = await datadog_system.search(Query(order="asc", start_index=2400, count=100))
    assert _numbers(page) == list(range(2400, 2500))
    assert [body["page"]["limit"] for body in datadog.searches] == [1000, 1000, 500]
    assert page.next is not None
    after = await datadog_system.search(Query(order="asc", count=100, cursor=page.next))
    assert _numbers(after) == list(range(2500, 2600))


@pytest.mark.parametrize("count", [1, 2, 100])
async def test_the_parts_of_a_long_event_come_back_as_one(
    count: int, datadog_system: LogSystem
) -> None:
    """Also where a page ends between the parts; no part shows up as an event of its own."""
    message = "".join(f"line {n}\n" for n in range(200_000))
    await _send(datadog_system, _recent(1), _recent(2, message=message), _recent(3))
    found = []
    query = Query(count=count)
    while True:
        page = await datadog_system.search(query)
        found += page.resources
        if page.next is None:
            break
        query = Query(count=count, cursor=page.next)
    assert [event["number"] for event in found] == [3, 2, 1]
    assert found[1]["message"] == message


async def test_backlog_of_days_ago_is_found_and_keeps_its_time(datadog_system: LogSystem) -> None:
    """It lies where it arrived, and says when it happened."""
    event = make_event(1, time=datetime.now(UTC) - timedelta(days=3))
    await _send(datadog_system, event)
    page = await datadog_system.search(Query())
    assert page.resources == [event.to_json()]


async def test_a_cursor_of_another_question_is_refused(datadog_system: LogSystem) -> None:
    """A foreign cursor is the caller's mistake, not an empty page."""
    await _send(datadog_system, *(_recent(n) for n in range(5)))
    page = await datadog_system.search(Query(count=2))
    with pytest.raises(QueryError, match="another question"):
        await datadog_system.search(Query(count=2, node="harmony-2", cursor=page.next))


async def test_failures_say_what_to_do(datadog: DatadogStandIn, datadog_system: LogSystem) -> None:
    """Each way in which the search can refuse has its own words."""
    search = "/api/v2/logs/"
    datadog.faults.add(path=search, status=429, headers={"X-RateLimit-Reset": "11"})
    with pytest.raises(Unavailable, match="429") as raised:
        await datadog_system.search(Query())
    assert raised.value.retry_after == 11.0
    datadog.timeouts = 1
    with pytest.raises(Unavailable, match="shorter time"):
        await datadog_system.search(Query())
    datadog.faults.add(path=search, cut=True)
    with pytest.raises(Unavailable):
        await datadog_system.search(Query())
    datadog.faults.add(path=search, status=200)
    with pytest.raises(Unavailable, match="not Datadog's"):
        await datadog_system.search(Query())
    datadog.faults.add(path=search, status=404)
    with pytest.raises(Refused, match="check site"):
        await datadog_system.search(Query())
    datadog.app_key = "another"
    with pytest.raises(Refused, match="logs_read_data") as refused:
        await datadog_system.search(Query())
    assert "dd-app-key" not in str(refused.value)


async def test_a_certificate_of_an_unknown_authority_is_told(
    datadog_settings: DatadogLogSystem, tmp_path: Path
) -> None:
    """The client library hides the reason three exceptions deep."""
    settings = replace(datadog_settings, ca_bundle=None)
    system = connect(settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    try:
        with pytest.raises(Refused, match="caBundle"):
            await system.search(Query())
    finally:
        await system.close()


async def test_retrieval_must_be_configured(
    datadog_settings: DatadogLogSystem, tmp_path: Path
) -> None:
    """Without appKey delivery works, and search says what to set."""
    settings = replace(datadog_settings, app_key=None)
    system = connect(settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    try:
        await _send(system, _recent(1))
        with pytest.raises(Refused, match="appKey"):
            await system.search(Query())
    finally:
        await system.close()


async def test_an_unknown_index_is_told(datadog_settings: DatadogLogSystem, tmp_path: Path) -> None:
    """Datadog's words about the index reach the person who set it."""
    settings = replace(datadog_settings, index="nowhere")
    system = connect(settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    try:
        with pytest.raises(Refused, match="Unknown index"):
            await system.search(Query())
    finally:
        await system.close()


async def test_only_events_of_the_own_system_come_back(
    datadog_settings: DatadogLogSystem, tmp_path: Path
) -> None:
    """Two Harmony systems may share an index; the API of one does not show the other's log."""
    system = connect(
        datadog_settings, node="n", state_dir=tmp_path, ca_bundle=None, system="System1"
    )
    try:
        await _send(system, _recent(1), _recent(2, system="System2"))
        page = await system.search(Query())
        assert (page.total, _numbers(page)) == (1, [1])
    finally:
        await system.close()


async def test_a_missing_client_library_is_named(
    datadog_system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivery works without it; the message says what to install."""
    for name in [name for name in sys.modules if name.split(".")[0] == "datadog_api_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "harmony_agent.logs.systems.datadog_sdk", raising=False)
    monkeypatch.setitem(sys.modules, "datadog_api_client", None)
    await _send(datadog_system, _recent(1))
    with pytest.raises(
        Refused, match=r"datadog-api-client is not installed; install harmony-agent\[datadog\]"
    ):
        await datadog_system.search(Query())


async def test_redirects_are_not_followed(
    datadog: DatadogStandIn, datadog_system: LogSystem, datadog_url: str
) -> None:
    """The keys go to the configured site and nowhere else."""
    there = {"Location": f"{datadog_url}/api/v2/logs/analytics/aggregate"}
    datadog.faults.add(path="/api/v2/logs/", status=307, headers=there)
    with pytest.raises(Refused, match="307"):
        await datadog_system.search(Query())
