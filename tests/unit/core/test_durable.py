"""Files that are whole or not there."""

import os
import resource
import signal
from pathlib import Path

import pytest

from harmony_agent.core.durable import is_temporary, write_durably


def test_a_write_replaces_the_whole_file_with_the_mode_asked_for(tmp_path: Path) -> None:
    """The new content and mode stand in place, and nothing else is left in the directory."""
    target = tmp_path / "file"
    target.write_text("a much longer old content")
    old = os.umask(0o077)
    try:
        write_durably(target, b"new", mode=0o644)
    finally:
        os.umask(old)
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [target]


def test_an_exclusive_write_leaves_an_existing_file_alone(tmp_path: Path) -> None:
    """The second of two creators is refused, the first one's content stays."""
    target = tmp_path / "file"
    write_durably(target, b"first", exclusive=True)
    with pytest.raises(FileExistsError):
        write_durably(target, b"second", exclusive=True)
    assert target.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    """When the new content can't be written whole, the old one stays whole."""
    target = tmp_path / "file"
    target.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_durably(target, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert target.read_bytes() == b"old"
    assert [p for p in tmp_path.iterdir() if is_temporary(p.name)] == []
