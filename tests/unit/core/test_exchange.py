"""Two files trade places, or nothing happens."""

import ctypes
import errno
import os
import struct
from pathlib import Path

import pytest

from harmony_agent.core import exchange as module
from harmony_agent.core.durable import Draft
from harmony_agent.core.exchange import NO_EXCHANGE, exchange

_MOVED_FROM, _MOVED_TO = 0x40, 0x80  # linux/inotify.h


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two files with different contents."""
    for name in ("target", "other"):
        (tmp_path / name).write_text(name)
    return tmp_path / "target", tmp_path / "other"


def test_two_files_trade_places(pair: tuple[Path, Path]) -> None:
    """Each has the other's content, and both are there."""
    target, other = pair
    exchange(target, other)
    assert (target.read_text(), other.read_text()) == ("other", "target")


def test_a_file_that_is_gone_leaves_the_other_as_it_is(pair: tuple[Path, Path]) -> None:
    """The error is that of a missing file, and names both."""
    target, other = pair
    target.unlink()
    with pytest.raises(FileNotFoundError, match=r"target.*other"):
        exchange(target, other)
    assert other.read_text() == "other"


def test_who_watches_hears_last_that_the_target_is_there(pair: tuple[Path, Path]) -> None:
    """Else a program that believes events would take a file that was replaced for deleted."""
    target, other = pair
    libc = ctypes.CDLL(None)
    handle = libc.inotify_init1(os.O_NONBLOCK)
    try:
        libc.inotify_add_watch(handle, os.fsencode(target.parent), _MOVED_FROM | _MOVED_TO)
        exchange(target, other)
        data = os.read(handle, 4096)
    finally:
        os.close(handle)
    events = []
    while data:
        _, mask, _, size = struct.unpack_from("iIII", data)
        events.append((mask, data[16 : 16 + size].rstrip(b"\0")))
        data = data[16 + size :]
    assert [mask for mask, name in events if name == b"target"] == [_MOVED_FROM, _MOVED_TO]


def test_a_library_without_the_call_says_so(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kernel without it does."""
    monkeypatch.setattr(module, "_renameat2", lambda: None)
    with pytest.raises(OSError, match="not implemented") as caught:
        exchange(*pair)
    assert caught.value.errno in NO_EXCHANGE


def test_a_draft_that_can_not_be_exchanged_can_still_be_put_over(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume without exchange costs nothing but the attempt."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    target, other = pair
    other.unlink()
    draft = Draft(target, mode=0o600)
    draft.write(b"new")
    monkeypatch.setattr("harmony_agent.core.durable.exchange", refuse)
    with pytest.raises(OSError, match="Invalid argument"):
        draft.put_in_exchange(other)
    assert target.read_text() == "target"
    draft.put_over()
    draft.discard()
    assert {path.name: path.read_text() for path in target.parent.iterdir()} == {"target": "new"}


def test_a_draft_trades_places_with_its_target(pair: tuple[Path, Path]) -> None:
    """What it replaces is still there, under the name asked for, also once the draft is closed."""
    target, other = pair
    other.unlink()
    draft = Draft(target, mode=0o600)
    draft.write(b"new")
    draft.put_in_exchange(other)
    draft.discard()
    assert (target.read_text(), other.read_text()) == ("new", "target")
    assert draft.written.st_ino == target.stat().st_ino
