"""Retrieval from Splunk with the real splunk-sdk over TLS."""

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from splunklib import client

from fixtures.splunk import SplunkStandIn
from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.logs.event import Event
from harmony_agent.logs.query import Page, Query, QueryError
from harmony_agent.logs.systems import splunk_search
from harmony_agent.logs.systems.connect import connect
from harmony_agent.logs.systems.http import client_context
from harmony_agent.logs.systems.interface import LogSystem
from harmony_agent.settings.model import SplunkLogSystem
from tests.unit.logs_systems.events import START, make_event, make_events

HOSTILE = 'x" | delete `macro` [search *] \\ %25 * $token$ \n ü'


def _numbers(page: Page) -> list[int]:
    return [event["number"] for event in page.resources]


async def _send(system: LogSystem, *events: Event) -> None:
    receipt = await system.send(events)
    assert receipt.acknowledged == len(events)


async def test_events_come_back_as_they_were_sent(splunk_system: LogSystem) -> None:
    """Field by field the same JSON, whatever is in it; newest first by default."""
    events = [
        make_event(1),
        make_event(2, message='a "quoted"\nline \\ ü', thread=None, attributes={}),
        make_event(3, serial=None, command="PUT a.edi", attributes={"file name.x": "<&>"}),
    ]
    await _send(splunk_system, *events)
    page = await splunk_system.search(Query())
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
        (Query(since=START + timedelta(seconds=2), until=START + timedelta(seconds=4)), [3, 2]),
        (Query(order="asc", count=2), [1, 2]),
        (Query(start_index=1, count=2), [3, 2]),
        (Query(thread=HOSTILE), [4]),
    ],
    ids=lambda value: str(value) if isinstance(value, list) else "",
)
async def test_filters_find_what_they_say(
    query: Query, expected: list[int], splunk_system: LogSystem
) -> None:
    """Exact filters mind the case and know no wildcards; text is words in any case."""
    await _send(
        splunk_system,
        make_event(1),
        make_event(2, node="harmony-2", severity="info", message="refused:\nsee log"),
        make_event(3, severity="warning", element="File", message='Refused "550"'),
        make_event(
            4, thread=HOSTILE, attributes={"host": "ACME AS2", "mailbox": "box2"}, message="x"
        ),
    )
    assert _numbers(await splunk_system.search(query)) == expected


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_neither_repeat_nor_skip(
    order: str, splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """Also with repeats from a retry, many events in one second, and new events between pages."""
    events = [make_event(n, time=START + timedelta(seconds=n // 10)) for n in range(1, 36)]
    await _send(splunk_system, *events)
    await _send(splunk_system, *events[10:20])
    seen: list[int] = []
    query = Query(order="asc" if order == "asc" else "desc", count=8)
    totals = set()
    for _ in range(10):
        page = await splunk_system.search(query)
        seen += _numbers(page)
        totals.add(page.total)
        if page.next is None:
            break
        if order == "desc":  # arrives before the first page, so it belongs to none of the next
            await _send(splunk_system, make_event(100 + len(seen), time=START + timedelta(hours=1)))
        query = Query(order=query.order, count=8, cursor=page.next)
    expected = list(range(1, 36))
    assert seen == (expected if order == "asc" else expected[::-1])
    assert totals == {45}


async def test_a_cursor_of_another_question_is_refused(splunk_system: LogSystem) -> None:
    """A damaged or foreign cursor is the caller's mistake, not an empty page."""
    await _send(splunk_system, *make_events(5))
    page = await splunk_system.search(Query(count=2))
    with pytest.raises(QueryError, match="another question"):
        await splunk_system.search(Query(count=2, node="harmony-2", cursor=page.next))
    for broken in ("%%%", "AAAA", "bnVsbA"):
        with pytest.raises(QueryError):
            await splunk_system.search(Query(count=2, cursor=broken))
    with pytest.raises(QueryError, match="exclude"):
        await splunk_system.search(Query(start_index=1, cursor=page.next))


async def test_jobs_are_deleted(splunk: SplunkStandIn, splunk_system: LogSystem) -> None:
    """Finished jobs count against the role's quota: none is left, not even after a failure."""
    splunk.management.polls = 3
    await _send(splunk_system, *make_events(2))
    await splunk_system.search(Query())
    splunk.management.fail_jobs.append("disk quota")
    with pytest.raises(Unavailable, match="disk quota"):
        await splunk_system.search(Query())
    assert len(splunk.management.searches) == 2
    assert splunk.management.jobs == {}


async def test_a_slow_search_is_given_up(
    splunk: SplunkStandIn, splunk_system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a limit to waiting, the job is deleted, and the message says what to do."""
    monkeypatch.setattr(splunk_search, "_SEARCH_LIMIT", 0.3)
    splunk.management.polls = 1000
    with pytest.raises(Unavailable, match="shorter time"):
        await splunk_system.search(Query())
    assert splunk.management.jobs == {}


async def test_failures_say_what_to_do(splunk: SplunkStandIn, splunk_system: LogSystem) -> None:
    """Each way in which the management port can refuse has its own words."""
    splunk.management.quota = 0
    with pytest.raises(Unavailable, match="maximum number of concurrent"):
        await splunk_system.search(Query())
    splunk.management.capabilities = []
    with pytest.raises(Refused, match="role of searchToken"):
        await splunk_system.search(Query())
    with pytest.raises(Refused, match="capability"):
        await splunk_system.probe()
    splunk.management.token = "another"
    with pytest.raises(Refused, match="HEC token can't search"):
        await splunk_system.search(Query())
    splunk.faults.add(path="/services", cut=True)
    with pytest.raises(Unavailable):
        await splunk_system.search(Query())
    splunk.faults.add(path="/services", status=200)
    with pytest.raises(Unavailable, match="not Splunk's"):
        await splunk_system.search(Query())
    splunk.faults.add(path="/services", status=502)
    with pytest.raises(Unavailable, match="502"):
        await splunk_system.search(Query())


async def test_retrieval_must_be_configured(
    splunk_settings: SplunkLogSystem, tmp_path: Path
) -> None:
    """Without searchUrl and searchToken delivery works, and search says what to set."""
    settings = replace(splunk_settings, search_url=None)
    system = connect(settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    try:
        await _send(system, make_event(1))
        with pytest.raises(Refused, match="searchUrl"):
            await system.search(Query())
        assert "retrieval is not configured" in await system.probe()
    finally:
        await system.close()


async def test_probe_tests_retrieval_too(splunk_system: LogSystem) -> None:
    """With both configured, `check` proves both."""
    assert "may search" in await splunk_system.probe()


async def test_an_index_is_written_and_searched(
    splunk: SplunkStandIn, splunk_settings: SplunkLogSystem, tmp_path: Path
) -> None:
    """The setting is used on both sides; other indexes are not looked at."""
    settings = replace(splunk_settings, index="harmony")
    system = connect(settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    try:
        await _send(system, make_event(1))
        splunk.hec.events.append({**splunk.hec.events[0], "index": "main"})
        page = await system.search(Query())
        assert (page.total, _numbers(page)) == (1, [1])
    finally:
        await system.close()


def test_the_stand_in_serves_the_sdk_s_own_way_to_log_in(
    splunk: SplunkStandIn, splunk_settings: SplunkLogSystem
) -> None:
    """User and password, and a one-shot search, with nothing of the agent's between."""
    assert splunk_settings.search_url is not None
    service = client.connect(
        host="localhost",
        port=int(splunk_settings.search_url.rpartition(":")[2]),
        username="admin",
        password="changed",
        verify=True,
        context=client_context(splunk_settings.ca_bundle),
    )
    stream = service.jobs.oneshot('search index="main"', output_mode="json")
    assert b'"results":[]' in stream.read()
    assert service.splunk_version == (10, 2, 0)


async def test_only_events_of_the_own_system_come_back(
    splunk_settings: SplunkLogSystem, tmp_path: Path
) -> None:
    """Two Harmony systems may share an index; the API of one does not show the other's log."""
    system = connect(
        splunk_settings, node="n", state_dir=tmp_path, ca_bundle=None, system="System1"
    )
    try:
        await _send(system, make_event(1), make_event(2, system="System2"))
        page = await system.search(Query())
        assert (page.total, _numbers(page)) == (1, [1])
    finally:
        await system.close()


async def test_a_missing_client_library_is_named(
    splunk_system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivery works without it; the message says what to install."""
    for name in [name for name in sys.modules if name.split(".")[0] == "splunklib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "harmony_agent.logs.systems.datadog_sdk", raising=False)
    monkeypatch.setitem(sys.modules, "splunklib", None)
    await _send(splunk_system, make_event(1))
    with pytest.raises(
        Refused, match=r"splunk-sdk is not installed; install harmony-agent\[splunk\]"
    ):
        await splunk_system.search(Query())


async def test_a_certificate_of_an_unknown_authority_is_told(
    splunk_settings: SplunkLogSystem, tmp_path: Path
) -> None:
    """splunk-sdk verifies nothing unless it is told to; the search token must not go to anybody."""
    settings = replace(splunk_settings, ca_bundle=None)
    system = connect(settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    try:
        with pytest.raises(Refused, match="caBundle"):
            await system.search(Query())
    finally:
        await system.close()
