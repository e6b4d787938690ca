"""Our own change marker: when it is written, and what it survives."""

import asyncio

import pytest

from harmony_agent.core.errors import AgentError, OutcomeUnknown, Refused, Unavailable
from harmony_agent.sync.markers.marker import Marker
from harmony_agent.sync.markers.own_marker import OwnMarker
from tests.unit.sync.memory_repository import MemoryRepository

pytestmark = pytest.mark.looptime

PATH = ".harmony-agent/markers/n1"


def own(repository: MemoryRepository) -> OwnMarker:
    """The marker of node n1, as a new process holds it."""
    return OwnMarker(repository, "n1", clock=asyncio.get_running_loop().time)


def stored(repository: MemoryRepository) -> Marker:
    """What others read."""
    marker = Marker.from_bytes(repository.files[PATH].data)
    assert marker is not None
    return marker


def told(repository: MemoryRepository) -> dict[str, bool]:
    """The changes that others read."""
    return {change.path: change.deleted for change in stored(repository).changes}


async def started(repository: MemoryRepository) -> OwnMarker:
    """A marker that was written once and may be written again."""
    marker = own(repository)
    await marker.publish()
    await asyncio.sleep(10)
    repository.calls.clear()
    return marker


async def test_what_is_told_is_published_with_one_request(repository: MemoryRepository) -> None:
    """At once when it was quiet; the next ones two seconds later, together."""
    marker = await started(repository)
    now = asyncio.get_running_loop().time
    marker.tell({"conf/a": False})
    assert marker.due is not None and marker.due <= now()
    await marker.publish()
    marker.tell({"conf/b": True})
    marker.tell({"conf/c": False, "conf/a": True})
    assert marker.due == pytest.approx(now() + 2)
    await marker.publish()
    assert told(repository) == {"conf/a": True, "conf/b": True, "conf/c": False}
    assert repository.calls == [("replace", PATH), ("replace", PATH)]
    assert marker.due is None


async def test_a_process_that_ended_in_order_goes_on(repository: MemoryRepository) -> None:
    """Its successor keeps the epoch, so nobody has to list; its marker is open from the start."""
    marker = await started(repository)
    marker.tell({"conf/a": False})
    await marker.publish(closed=True)
    before = stored(repository)
    assert before.closed
    await own(repository).publish()
    after = stored(repository)
    assert (after.epoch, after.last, after.changes) == (before.epoch, before.last, before.changes)
    assert not after.closed


async def test_a_process_that_was_killed_is_followed_by_a_new_epoch(
    repository: MemoryRepository,
) -> None:
    """What it wrote last it may not have told: others have to list."""
    await started(repository)
    before = stored(repository)
    await own(repository).publish()
    assert stored(repository).epoch != before.epoch


async def test_a_process_that_lost_track_begins_a_new_epoch(repository: MemoryRepository) -> None:
    """Also if that is noticed before its marker was ever read."""
    marker = await started(repository)
    await marker.publish(closed=True)
    epochs = {stored(repository).epoch}
    for process in (marker, own(repository)):
        process.lost_track()
        assert process.due is not None
        await process.publish(closed=True)
        epochs.add(stored(repository).epoch)
        assert process.due is None
    assert len(epochs) == 3


@pytest.mark.parametrize("first", [True, False], ids=["create", "replace"])
async def test_a_write_whose_answer_is_lost_is_recognized(
    repository: MemoryRepository, first: bool
) -> None:
    """Looking shows that it was stored; it is told again in the same epoch."""
    marker = own(repository) if first else await started(repository)
    repository.loses_answer = lambda operation, path: operation in ("create", "replace")
    marker.tell({"conf/a": False})
    with pytest.raises(Unavailable):
        await marker.publish()
    assert marker.trouble
    repository.loses_answer = lambda operation, path: False
    epoch = stored(repository).epoch
    await marker.publish()
    assert (stored(repository).epoch, told(repository)) == (epoch, {"conf/a": False})
    assert marker.due is None and marker.trouble is None


async def test_a_write_that_fails_is_put_off_and_made_up_for(repository: MemoryRepository) -> None:
    """What was told meanwhile comes with it."""
    marker = await started(repository)
    repository.down = True
    marker.tell({"conf/a": False})
    with pytest.raises(Unavailable):
        await marker.publish()
    marker.tell({"conf/b": False})
    assert marker.due is not None and marker.due > asyncio.get_running_loop().time()
    repository.down = False
    await marker.publish()
    assert told(repository) == {"conf/a": False, "conf/b": False}


async def test_a_deleted_marker_is_written_again(repository: MemoryRepository) -> None:
    """Nothing was missed, so its epoch goes on."""
    marker = await started(repository)
    marker.tell({"conf/a": False})
    await marker.publish()
    before = stored(repository)
    del repository.files[PATH]
    marker.saw(None)
    assert marker.due is not None
    await marker.publish()
    assert (stored(repository).epoch, told(repository)) == (before.epoch, {"conf/a": False})


@pytest.mark.parametrize(
    "content", [b"garbage", Marker.begin("another", "n").telling({"conf/x": False}, "m").to_bytes()]
)
async def test_a_marker_somebody_else_wrote_is_replaced_by_a_new_epoch(
    repository: MemoryRepository, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Found by its token or by the refused write, and told with what to do about it."""
    marker = await started(repository)
    epoch = stored(repository).epoch
    marker.saw(repository.put(PATH, content))
    await marker.publish()
    assert stored(repository).epoch not in (epoch, "another")
    repository.put(PATH, content)
    marker.tell({"conf/a": False})
    await marker.publish()
    assert told(repository) == {"conf/a": False}
    assert caplog.text.count("HARMONY_AGENT_HOST") == 2


async def test_a_listing_that_is_older_than_the_last_write_changes_nothing(
    repository: MemoryRepository,
) -> None:
    """One look shows that all is well."""
    marker = await started(repository)
    old = repository.files[PATH].token
    marker.tell({"conf/a": False})
    await marker.publish()
    marker.saw(old)
    await marker.publish()
    assert repository.calls == [("replace", PATH), ("read", PATH)]
    assert marker.due is None


async def test_two_that_write_without_end_do_not_keep_each_other_busy(
    repository: MemoryRepository,
) -> None:
    """A marker that changes again and again under our hands is left for later."""
    marker = await started(repository)

    def foreign(operation: str, path: str) -> None:
        if operation == "replace":
            repository.put(PATH, b"mine")

    repository.before = foreign
    marker.tell({"conf/a": False})
    with pytest.raises(Unavailable, match="changes faster"):
        await marker.publish()
    assert repository.count("replace") == 3


@pytest.mark.parametrize("error", [Unavailable("x"), OutcomeUnknown("x"), Refused("x")], ids=repr)
async def test_any_error_keeps_what_is_untold(
    repository: MemoryRepository, error: AgentError
) -> None:
    """Whatever the repository raises, the next success tells it."""
    marker = await started(repository)

    def fail(operation: str, path: str) -> None:
        raise error

    marker.tell({"conf/a": False})
    repository.before = fail
    with pytest.raises(type(error)):
        await marker.publish()
    repository.before = lambda operation, path: None
    await marker.publish()
    assert told(repository) == {"conf/a": False}
