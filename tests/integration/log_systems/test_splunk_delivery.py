"""Delivery to the HTTP Event Collector: every documented answer, on real sockets."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.serve import serving
from fixtures.splunk import SplunkStandIn
from fixtures.splunk_hec import CODES
from fixtures.tls import Certificate, TestAuthority
from harmony_agent.core.errors import OutcomeUnknown, Refused, Unavailable
from harmony_agent.logs.systems import splunk_acks, splunk_delivery
from harmony_agent.logs.systems.connect import connect
from harmony_agent.logs.systems.interface import LogSystem
from harmony_agent.settings.model import SplunkLogSystem
from harmony_agent.settings.properties import build
from tests.unit.logs_systems.events import make_event, make_events


def _numbers(stand_in: SplunkStandIn) -> list[int]:
    return [event["number"] for event in stand_in.events]


async def test_events_arrive_whole_and_in_order(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """What is indexed is the event's own JSON, with Splunk's metadata around it."""
    events = make_events(3)
    receipt = await splunk_system.send(events)
    assert receipt.acknowledged == 3
    assert splunk.events == [event.to_json() for event in events]
    envelope = splunk.hec.events[0]
    assert envelope["time"] == events[0].time.timestamp()
    assert envelope["host"] == "harmony-1"
    assert envelope["sourcetype"] == "cleo:harmony:event"
    assert envelope["fields"]["harmony_id"] == events[0].id


async def test_requests_are_compressed_and_keep_their_connection(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """Without a User-Agent Splunk answers in HTTP/1.0, and nothing is kept alive."""
    await splunk_system.send(make_events(1))
    await splunk_system.send(make_events(1, first=2))
    assert [r["content-encoding"] for r in splunk.hec.requests] == ["gzip", "gzip"]
    assert all(r["user-agent"].startswith("harmony-agent/") for r in splunk.hec.requests)
    assert all(r.get("connection", "keep-alive") == "keep-alive" for r in splunk.hec.requests)


async def test_a_big_batch_is_split_into_requests(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """No request exceeds the limits, however much the caller hands over."""
    events = [make_event(n, message="x" * 400_000) for n in range(1, 6)]
    receipt = await splunk_system.send(events)
    assert receipt.acknowledged == 5
    assert len(splunk.hec.requests) == 3
    assert _numbers(splunk) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("code", [8, 9, 11, 18, 19, 20, 23, 26, 27])
async def test_a_busy_collector_is_tried_again(
    code: int, splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """Codes that say "later" raise Unavailable with the wait that was asked for."""
    splunk.hec.fail(code, retry_after="7")
    with pytest.raises(Unavailable, match=f"code {code} ") as raised:
        await splunk_system.send(make_events(2))
    assert raised.value.retry_after == 7.0
    assert (await splunk_system.send(make_events(2))).acknowledged == 2


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 7, 14, 16, 21, 22])
async def test_a_wrong_configuration_is_held_and_told(
    code: int, splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """Codes that a person has to deal with raise Refused: nothing is dropped."""
    splunk.hec.fail(code)
    with pytest.raises(Refused, match=f"code {code} "):
        await splunk_system.send(make_events(2))
    assert splunk.events == []


@pytest.mark.parametrize("code", [6, 12, 13, 15])
async def test_a_poisoned_event_is_set_aside_by_its_number(
    code: int, splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """The events before it are not repeated, those after it are delivered."""
    splunk.hec.fail(code, at=3)
    receipt = await splunk_system.send(make_events(6))
    assert receipt.acknowledged == 6
    assert [letter.event.number for letter in receipt.dead] == [4]
    assert f"code {code} " in receipt.dead[0].reason
    assert _numbers(splunk) == [1, 2, 3, 5, 6]


async def test_a_poisoned_event_is_found_by_halving_if_the_answer_does_not_tell(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """A number that is no event's is not believed: the batch is halved down to the culprit."""
    for _ in range(4):  # 8, 4, 2 and 1 events
        splunk.hec.fail(6)
    receipt = await splunk_system.send(make_events(8))
    assert [letter.event.number for letter in receipt.dead] == [1]
    assert _numbers(splunk) == [2, 3, 4, 5, 6, 7, 8]


async def test_poisoned_events_do_not_stop_the_others(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """Several bad events in one batch become as many dead letters, and nothing is repeated."""
    splunk.hec.poison = "POISON"
    events = make_events(50)
    for bad in (0, 7, 8, 49):
        events[bad].message = "POISON"
    receipt = await splunk_system.send(events)
    assert receipt.acknowledged == 50
    assert [letter.event.number for letter in receipt.dead] == [1, 8, 9, 50]
    assert _numbers(splunk) == [n for n in range(1, 51) if n not in (1, 8, 9, 50)]


async def test_if_every_event_is_refused_nothing_is_dropped(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """A proxy that mangles bodies must not turn the whole log into dead letters."""
    splunk.hec.poison = "harmony-1"
    with pytest.raises(Refused, match="every event is refused"):
        await splunk_system.send(make_events(100))


async def test_a_busy_answer_with_a_number_is_a_partial_success(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """503 with `invalid-event-number`: the events before it are stored and not repeated."""
    splunk.hec.fail(9, at=2, retry_after="3")
    events = make_events(5)
    receipt = await splunk_system.send(events)
    assert (receipt.acknowledged, receipt.pause) == (2, 3.0)
    await splunk_system.send(events[receipt.acknowledged :])
    assert _numbers(splunk) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("code", [24, 25])
async def test_a_filling_queue_is_a_success_that_asks_to_slow_down(
    code: int, splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """Codes 24 and 25 take the events and give the caller a pause."""
    splunk.hec.fail(code)
    receipt = await splunk_system.send(make_events(2))
    assert receipt.acknowledged == 2
    assert receipt.pause > 0


async def test_html_answers_are_understood_by_their_status(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """A page in place of JSON is a proxy or an early error of splunkd; it never loses an event."""
    for status in (400, 404, 429, 500, 502, 503, 504):
        splunk.faults.add(status=status)
        with pytest.raises(Unavailable, match=str(status)):
            await splunk_system.send(make_events(1))
    for status in (200, 301, 401, 403, 415):
        splunk.faults.add(status=status)
        with pytest.raises(Refused, match=str(status)):
            await splunk_system.send(make_events(1))
    assert splunk.events == []


async def test_a_request_that_is_too_large_is_halved(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """413 comes as HTML; the same events arrive in smaller requests."""
    splunk.faults.add(status=413)
    receipt = await splunk_system.send(make_events(4))
    assert receipt.acknowledged == 4
    assert _numbers(splunk) == [1, 2, 3, 4]


async def test_404_is_believed_only_if_it_lasts(
    splunk: SplunkStandIn, splunk_system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rolling restart answers 404 for a while; a wrong URL for ever."""
    splunk.faults.add(status=404, times=2)
    with pytest.raises(Unavailable):
        await splunk_system.send(make_events(1))
    monkeypatch.setattr(splunk_delivery, "_PATIENCE", 0.0)
    with pytest.raises(Refused, match="check that url"):
        await splunk_system.send(make_events(1))


async def test_a_cut_connection_leaves_the_outcome_unknown(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """The events may be stored: the caller has to send them again, by the same ids."""
    splunk.faults.add(lose=True)
    events = make_events(2)
    with pytest.raises(OutcomeUnknown):
        await splunk_system.send(events)
    assert (await splunk_system.send(events)).acknowledged == 2
    assert [event["id"] for event in splunk.events] == 2 * [event.id for event in events]


async def test_delivery_goes_on_after_an_outage(
    authority: TestAuthority, certificate: Certificate, tmp_path: Path
) -> None:
    """While nobody listens it is Unavailable; the same connection object works afterwards."""
    stand_in = SplunkStandIn()
    with serving(stand_in.app, certificate) as url:
        port = int(url.rpartition(":")[2])
    settings = build(
        SplunkLogSystem, {"url": url, "token": "hec-token", "caBundle": str(authority.bundle)}
    )
    system = connect(settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    with pytest.raises(Unavailable, match="no connection"):
        await system.send(make_events(1))
    with serving(stand_in.app, certificate, port=port):
        try:
            assert (await system.send(make_events(1))).acknowledged == 1
        finally:
            await system.close()


async def test_an_oversized_event_arrives_shortened_and_is_a_dead_letter(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """Splunk takes no event beyond 5 MB: people get a shortened copy, the whole one is kept."""
    events = [make_event(1), make_event(2, message="ä" * 3_000_000), make_event(3)]
    receipt = await splunk_system.send(events)
    assert receipt.acknowledged == 3
    assert [letter.event for letter in receipt.dead] == [events[1]]
    assert "5 MB" in receipt.dead[0].reason
    arrived = splunk.events[1]
    assert arrived["id"] == events[1].id
    assert arrived["message"].startswith("äää")
    assert arrived["message"].endswith("[shortened by harmony-agent]")


async def test_acknowledgment_is_used_if_the_token_asks_for_it(
    splunk: SplunkStandIn, splunk_system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code 10 teaches the channel; a batch counts once Splunk says that it is indexed."""
    monkeypatch.setattr(splunk_acks, "_ACK_FIRST", 0.01)
    splunk.hec.use_ack = True
    splunk.hec.ack_polls = 2
    assert (await splunk_system.send(make_events(2))).acknowledged == 2
    assert (await splunk_system.send(make_events(2, first=3))).acknowledged == 2
    channels = [r.get("x-splunk-request-channel") for r in splunk.hec.requests]
    assert channels[0] is None
    assert channels[1] is not None
    assert channels[1] == channels[2]
    assert _numbers(splunk) == [1, 2, 3, 4]


async def test_a_lost_acknowledgment_is_sent_again(
    splunk: SplunkStandIn, splunk_system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An indexer that lost a request never acknowledges it: after the limit it counts as lost."""
    monkeypatch.setattr(splunk_acks, "_ACK_FIRST", 0.01)
    monkeypatch.setattr(splunk_acks, "_ACK_LIMIT", 0.2)
    splunk.hec.use_ack = True
    splunk.hec.lost_acks = {0}
    events = make_events(2)
    with pytest.raises(OutcomeUnknown, match="not acknowledged"):
        await splunk_system.send(events)
    assert splunk.events == []
    assert (await splunk_system.send(events)).acknowledged == 2
    assert _numbers(splunk) == [1, 2]


async def test_acknowledgments_are_asked_for_together(
    splunk: SplunkStandIn, splunk_system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four batches wait for their acknowledgment at once: they share one channel and the polls,
    so that a batch takes no longer for the others beside it."""
    monkeypatch.setattr(splunk_acks, "_ACK_FIRST", 0.05)
    splunk.hec.use_ack = True
    splunk.hec.ack_polls = 3
    polls = []
    ask = splunk_acks.Acknowledgments._ask

    async def counted(self: splunk_acks.Acknowledgments, ack_ids: list[int]) -> Iterable[int]:
        polls.append(len(ack_ids))
        return await ask(self, ack_ids)

    monkeypatch.setattr(splunk_acks.Acknowledgments, "_ask", counted)
    sends = [splunk_system.send(make_events(2, first=1 + 2 * n)) for n in range(4)]
    assert [receipt.acknowledged for receipt in await asyncio.gather(*sends)] == [2] * 4
    assert max(polls) > 1
    assert len(polls) < 16  # one by one it would be four for each batch
    assert sorted(_numbers(splunk)) == list(range(1, 9))
    channels = {r.get("x-splunk-request-channel") for r in splunk.hec.requests} - {None}
    assert len(channels) == 1


async def test_more_batches_are_on_their_way_while_each_waits_for_its_acknowledgment(
    splunk: SplunkStandIn, splunk_system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the token has asked for acknowledgment; until the channel is lost."""
    monkeypatch.setattr(splunk_acks, "_ACK_FIRST", 0.01)
    usual = splunk_system.concurrency
    await splunk_system.send(make_events(1))
    assert splunk_system.concurrency == usual
    splunk.hec.use_ack = True
    splunk.hec.ack_seconds = 0.03
    await splunk_system.send(make_events(1, first=2))
    assert splunk_system.concurrency > usual
    splunk.hec.use_ack = False
    splunk.hec.fail(11)
    with pytest.raises(Unavailable):
        await splunk_system.send(make_events(1, first=3))
    assert splunk_system.concurrency == usual


async def test_all_that_wait_learn_that_the_channel_is_lost(
    splunk: SplunkStandIn, splunk_system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Splunk no longer knows the channel when it is polled: each batch counts as unknown at once,
    and is taken when it is sent again."""
    monkeypatch.setattr(splunk_acks, "_ACK_FIRST", 0.01)
    splunk.hec.use_ack = True
    body = '{"text": "Invalid data channel", "code": 11}'
    splunk.faults.add(path="/services/collector/ack", status=400, body=body, times=9)
    splunk.hec.ack_polls = 9
    sends = [splunk_system.send(make_events(1, first=n)) for n in (1, 2)]
    failures = await asyncio.gather(*sends, return_exceptions=True)
    assert all("no longer knows the channel" in str(failure) for failure in failures)
    splunk.faults.clear()
    splunk.hec.ack_polls = 0
    assert (await splunk_system.send(make_events(2))).acknowledged == 2


async def test_a_forgotten_channel_is_made_anew(
    splunk: SplunkStandIn, splunk_system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Splunk deletes channels that were idle for 600 s and then answers code 11."""
    monkeypatch.setattr(splunk_acks, "_ACK_FIRST", 0.01)
    splunk.hec.use_ack = True
    await splunk_system.send(make_events(1))
    splunk.hec.fail(11)
    with pytest.raises(Unavailable):
        await splunk_system.send(make_events(1, first=2))
    assert (await splunk_system.send(make_events(1, first=2))).acknowledged == 1
    channels = {r.get("x-splunk-request-channel") for r in splunk.hec.requests} - {None}
    assert len(channels) == 2


async def test_polling_survives_a_failing_collector(
    splunk: SplunkStandIn, splunk_system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll that fails is repeated; the events are not sent again for that."""
    monkeypatch.setattr(splunk_acks, "_ACK_FIRST", 0.01)
    splunk.hec.use_ack = True
    splunk.faults.add(path="/services/collector/ack", cut=True)
    splunk.faults.add(path="/services/collector/ack", status=503)
    assert (await splunk_system.send(make_events(1))).acknowledged == 1
    assert _numbers(splunk) == [1]


async def test_a_certificate_of_an_unknown_authority_is_told(
    splunk_url: str, tmp_path: Path
) -> None:
    """The stock certificate of Splunk is its own authority's: the message names the setting."""
    settings = build(SplunkLogSystem, {"url": splunk_url, "token": "hec-token"})
    system = connect(settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    try:
        with pytest.raises(Refused, match="caBundle"):
            await system.send(make_events(1))
    finally:
        await system.close()


async def test_a_token_never_shows_in_an_error(
    splunk: SplunkStandIn, splunk_settings: SplunkLogSystem, tmp_path: Path
) -> None:
    """What a person reads about a wrong token does not hold it."""
    wrong = replace(splunk_settings, token=type(splunk_settings.token)("s3cr3t-x"))
    system = connect(wrong, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    try:
        with pytest.raises(Refused) as raised:
            await system.send(make_events(1))
        assert "s3cr3t-x" not in str(raised.value)
        assert "check token" in str(raised.value)
    finally:
        await system.close()


async def test_the_url_may_hold_the_collector_s_path(
    splunk: SplunkStandIn, splunk_settings: SplunkLogSystem, tmp_path: Path
) -> None:
    """A URL copied from Splunk's examples works as well."""
    url = splunk_settings.url + "/services/collector/event"
    settings = replace(splunk_settings, url=url)
    system = connect(settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    try:
        assert (await system.send(make_events(1))).acknowledged == 1
    finally:
        await system.close()


@pytest.mark.parametrize(
    ("configured", "host"),
    [("edi", "edi"), ("%hostname%", "harmony-1"), ("x-%hostname%", "x-harmony-1")],
)
async def test_the_host_of_events_may_be_set(
    configured: str,
    host: str,
    splunk: SplunkStandIn,
    splunk_settings: SplunkLogSystem,
    tmp_path: Path,
) -> None:
    """Upstream's example has the macro %hostname%, which is the node's name."""
    settings = replace(splunk_settings, host=configured)
    system = connect(settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    try:
        await system.send(make_events(1))
    finally:
        await system.close()
    assert splunk.hec.events[0]["host"] == host


async def test_probe_proves_the_token_without_storing(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """`check` tells good from bad, and leaves nothing behind."""
    assert "takes the token" in await splunk_system.probe()
    splunk.hec.enabled = False
    with pytest.raises(Refused, match="Token disabled"):
        await splunk_system.probe()
    splunk.hec.enabled = True
    splunk.hec.token = "another"
    with pytest.raises(Refused, match="Invalid token"):
        await splunk_system.probe()
    splunk.hec.health = 20
    with pytest.raises(Unavailable, match="queues are full"):
        await splunk_system.probe()
    assert splunk.events == []


async def test_cancelling_a_send_leaves_nothing_running(
    splunk: SplunkStandIn, splunk_system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drain that runs out of time can break off a wait for acknowledgment."""
    splunk.hec.use_ack = True
    splunk.hec.lost_acks = {0}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await splunk_system.send(make_events(1))
    assert (await splunk_system.send(make_events(1))).acknowledged == 1


def test_every_documented_code_is_covered() -> None:
    """The lists above leave out no code of Splunk's table but success and health."""
    busy, poison = {8, 9, 11, 18, 19, 20, 23, 26, 27}, {6, 12, 13, 15}
    wrong = {1, 2, 3, 4, 5, 7, 14, 16, 21, 22}
    assert set(CODES) == busy | wrong | poison | {0, 10, 17, 24, 25}
