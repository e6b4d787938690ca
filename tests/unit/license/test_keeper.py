"""The record's two copies, and what happens to one that somebody changed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from harmony_agent.core.errors import PreconditionFailed
from harmony_agent.core.threads import Workers
from harmony_agent.license import metrics
from harmony_agent.license.clock import Meter, Moment
from harmony_agent.license.identity import identify
from harmony_agent.license.keeper import RECORD_PATH, Memory, RecordKeeper
from harmony_agent.license.record import EMPTY, Outage, OutageKind, Record, Rejection, Success
from harmony_agent.settings.secret import SecretStr
from tests.unit.license.support import START, MemoryRepository, license_settings

NOW = START + 1000.0
MOMENT = Moment(NOW, 10.0, "boot-1", confirmed=True)
OUTAGE = Outage("outage-1", OutageKind.UNREACHABLE, START + 500.0, "node-0", "no answer", "IT-1")
RECORD = Record(Success(START, "node-0", "HC1234-ZZ5678", ("outage-0",)), OUTAGE)
MEMORY = Memory(RECORD, MOMENT, OutageKind.UNREACHABLE, Meter.begin(START, MOMENT), ("over",))


@pytest.fixture
def workers() -> Iterator[Workers]:
    """One thread for the local copy."""
    pool = Workers("keeper-test", 1)
    yield pool
    pool.close()


@pytest.fixture
def keeper(tmp_path: Path, workers: Workers) -> RecordKeeper:
    """The keeper of one license."""
    return RecordKeeper(identify(license_settings()), tmp_path, workers)


def alarms() -> float:
    """How many copies were found changed."""
    return float(metrics.RECORD_ALARMS._value.get())


async def test_what_was_remembered_is_recalled(keeper: RecordKeeper) -> None:
    """The local copy survives a restart, whole."""
    await keeper.remember(MEMORY)
    assert await keeper.recall(NOW) == (RECORD, MEMORY)


async def test_nothing_remembered_is_no_alarm(keeper: RecordKeeper) -> None:
    """A new pod."""
    before = alarms()
    assert await keeper.recall(NOW) == (EMPTY, None)
    assert alarms() == before


async def test_another_license_starts_afresh(
    tmp_path: Path, workers: Workers, keeper: RecordKeeper
) -> None:
    """Another serial, code or file: neither copy of the old license counts, and nothing alarms."""
    repository = MemoryRepository()
    await keeper.remember(MEMORY)
    await keeper.publish(repository, RECORD, await keeper.fetch(repository, EMPTY, NOW))
    before = alarms()
    for other in (
        license_settings(serial="ZZ9999-ZZ9999"),
        license_settings(code="another-code"),
        license_settings(key=b"another file"),
    ):
        new = RecordKeeper(identify(other), tmp_path, workers)
        assert await new.recall(NOW) == (EMPTY, None)
        assert (await new.fetch(repository, EMPTY, NOW)).record == EMPTY
    assert alarms() == before


async def test_two_licenses_live_side_by_side_while_secrets_are_rotated(
    tmp_path: Path, workers: Workers, keeper: RecordKeeper
) -> None:
    """Pods with the old and the new secret don't overwrite each other's record."""
    repository = MemoryRepository()
    new = RecordKeeper(identify(license_settings(code="new-code")), tmp_path, workers)
    renewed = Record(Success(NOW, "node-1"))
    await keeper.publish(repository, RECORD, await keeper.fetch(repository, EMPTY, NOW))
    await new.publish(repository, renewed, await new.fetch(repository, EMPTY, NOW))
    assert (await keeper.fetch(repository, EMPTY, NOW)).record == RECORD
    assert (await new.fetch(repository, EMPTY, NOW)).record == renewed


async def test_the_second_of_two_writers_loses(keeper: RecordKeeper) -> None:
    """Compare-and-swap, for the first file as for every later one."""
    repository = MemoryRepository()
    seen = await keeper.fetch(repository, EMPTY, NOW)
    await keeper.publish(repository, RECORD, seen)
    with pytest.raises(PreconditionFailed):
        await keeper.publish(repository, EMPTY, seen)
    seen = await keeper.fetch(repository, EMPTY, NOW)
    await keeper.publish(repository, RECORD, seen)
    with pytest.raises(PreconditionFailed):
        await keeper.publish(repository, EMPTY, seen)


def tampered(data: bytes, **changes: Any) -> bytes:
    """The repository's file with its record changed and the old signature."""
    document = orjson.loads(data)
    for entry in document["licenses"].values():
        entry["record"].update(changes)
    return orjson.dumps(document)


async def test_a_record_changed_by_hand_gives_no_more_than_its_start(keeper: RecordKeeper) -> None:
    """A forged success is not believed; the outage's start is, where it can be true."""
    repository = MemoryRepository()
    await keeper.publish(repository, RECORD, await keeper.fetch(repository, EMPTY, NOW))
    forged = {"at": NOW, "node": "x", "serial": None, "ended": []}
    repository.files[RECORD_PATH] = tampered(repository.files[RECORD_PATH], success=forged)
    before = alarms()
    assert (await keeper.fetch(repository, EMPTY, NOW)).record == EMPTY  # start < forged success
    genuine = {"at": START, "node": "x", "serial": None, "ended": []}
    repository.files[RECORD_PATH] = tampered(repository.files[RECORD_PATH], success=genuine)
    assert (await keeper.fetch(repository, EMPTY, NOW)).record == Record(unreachable=OUTAGE)
    rejected = Record(rejection=Rejection(START, "node-0", "revoked"))
    assert (await keeper.fetch(repository, rejected, NOW)).record == EMPTY
    assert alarms() == before + 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not JSON",
        b"[]",
        b"{}",
        b'{"licenses": []}',
        b'{"licenses": 5}',
    ],
)
async def test_a_file_that_is_no_record_is_replaced_with_an_alarm(
    keeper: RecordKeeper, data: bytes
) -> None:
    """It must not stop the license from being judged, nor from being recorded again."""
    repository = MemoryRepository()
    repository.files[RECORD_PATH] = data
    before = alarms()
    copy = await keeper.fetch(repository, EMPTY, NOW)
    assert copy.record == EMPTY
    assert alarms() == before + 1
    await keeper.publish(repository, RECORD, copy)
    assert (await keeper.fetch(repository, EMPTY, NOW)).record == RECORD


@pytest.mark.parametrize(
    "entry", [5, None, {}, {"record": 5}, {"record": {"success": {"at": 1e300}}}]
)
async def test_an_entry_that_is_no_record_is_ignored_with_an_alarm(
    keeper: RecordKeeper, entry: Any
) -> None:
    """Wrong types and impossible times."""
    repository = MemoryRepository()
    name = identify(license_settings()).id
    repository.files[RECORD_PATH] = orjson.dumps({"licenses": {name: entry}})
    copy = await keeper.fetch(repository, EMPTY, NOW)
    assert copy.record == EMPTY


async def test_a_local_copy_changed_by_hand_is_not_taken_for_knowledge(
    tmp_path: Path, keeper: RecordKeeper
) -> None:
    """Its elapsed time is lost, so the start counts; it is not the memory of this node any more."""
    await keeper.remember(MEMORY)
    path = tmp_path / "license.json"
    document = orjson.loads(path.read_bytes())
    document["memory"]["meter"]["elapsed"] = 0.0
    path.write_bytes(orjson.dumps(document))
    assert await keeper.recall(NOW) == (Record(unreachable=OUTAGE), None)


async def test_a_state_directory_that_cannot_be_used_does_not_stop_the_judgement(
    tmp_path: Path, workers: Workers
) -> None:
    """Told, not raised."""
    keeper = RecordKeeper(identify(license_settings()), tmp_path / "missing", workers)
    await keeper.remember(MEMORY)
    assert await keeper.recall(NOW) == (EMPTY, None)


def test_the_record_shows_neither_code_nor_key() -> None:
    """The identity's repr may end in a log."""
    settings = replace(license_settings(), verification_code=SecretStr("code-4711"))
    identity = identify(settings)
    assert "code-4711" not in repr(identity)
    assert replace(identity).sign({}) == identity.sign({})
    assert "_key" not in repr(identity)
