"""Many files are synced by one call where that is sound, and one by one everywhere else."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from harmony_agent.core import volume_sync
from harmony_agent.core.group_commit import Made, NewFile, create_together
from harmony_agent.core.open_folders import OpenFolders
from harmony_agent.core.volume_sync import VolumeSync, kind_of_volume

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw
31 27 254:16 / /opt/harmony rw - xfs /dev/vdb rw
40 27 0:51 / /mnt/files rw - nfs4 nfs:/files rw,hard
"""


class Disk:
    """Stands for the kernel: counts calls; `takes` seconds for a volume, which may fail."""

    def __init__(self) -> None:
        self.now = 0.0
        self.takes = 0.01
        self.fails = False
        self.volumes = 0
        self.files = 0

    def syncfs(self, _: int) -> None:
        """Sync a volume."""
        self.volumes += 1
        self.now += self.takes
        if self.fails:
            raise OSError(errno.EIO, "Input/output error")

    def fsync(self, _: int) -> None:
        """Sync a file or directory."""
        self.files += 1


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A local one."""
    disk = Disk()
    monkeypatch.setattr(volume_sync, "_syncfs", disk.syncfs)
    monkeypatch.setattr(volume_sync, "_is_sound", lambda _: True)
    monkeypatch.setattr(os, "fsync", disk.fsync)
    return disk


@pytest.fixture
def handles(tmp_path: Path) -> Iterator[Callable[[int], list[int]]]:
    """Opens so many new files."""
    opened: list[int] = []

    def make(number: int) -> list[int]:
        first = len(opened)
        for index in range(first, first + number):
            opened.append(os.open(tmp_path / str(index), os.O_WRONLY | os.O_CREAT))  # noqa: PERF401 - each is closed, also if the next fails
        return opened[first:]

    yield make
    for handle in opened:
        os.close(handle)


def create_many(
    tmp_path: Path, disk: Disk, alone: Callable[[], AbstractContextManager[object]]
) -> list[Made | Exception]:
    """Twenty files in one go."""
    folders = OpenFolders(tmp_path)
    new = [NewFile(str(number), b"x", 0o600) for number in range(20)]
    try:
        return create_together(new, folders, VolumeSync(clock=lambda: disk.now), alone)
    finally:
        folders.close()


def test_many_files_cost_one_sync(disk: Disk, handles: Callable[[int], list[int]]) -> None:
    """The volume is synced once instead of each of them."""
    assert VolumeSync(clock=lambda: disk.now).sync(handles(50)) == [None] * 50
    assert (disk.volumes, disk.files) == (1, 0)


def test_few_files_do_not_wait_for_what_others_write(
    disk: Disk, handles: Callable[[int], list[int]]
) -> None:
    """A single change in the daily round is synced for itself."""
    assert VolumeSync(clock=lambda: disk.now).sync(handles(3)) == [None] * 3
    assert (disk.volumes, disk.files) == (0, 3)


def test_a_volume_where_it_is_not_sound_is_synced_file_by_file(
    disk: Disk, handles: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems, and kernels that hide errors."""
    monkeypatch.setattr(volume_sync, "_is_sound", lambda _: False)
    assert VolumeSync(clock=lambda: disk.now).sync(handles(50)) == [None] * 50
    assert (disk.volumes, disk.files) == (0, 50)


def test_files_of_two_volumes_are_synced_one_by_one(
    disk: Disk, handles: Callable[[int], list[int]]
) -> None:
    """Another volume may be mounted in any folder: to sync the first file's would leave its files
    in memory."""
    elsewhere = [os.memfd_create(f"{number}") for number in range(20)]
    try:
        both = [*handles(20), *elsewhere]
        assert VolumeSync(clock=lambda: disk.now).sync(both) == [None] * 40
    finally:
        for handle in elsewhere:
            os.close(handle)
    assert (disk.volumes, disk.files) == (0, 40)


def test_each_volume_is_judged_for_itself(
    disk: Disk, handles: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that may be synced as a whole says nothing of another."""
    here = handles(20)
    sound = os.fstat(here[0]).st_dev
    monkeypatch.setattr(volume_sync, "_is_sound", lambda device: device == sound)
    elsewhere = [os.memfd_create(f"{number}") for number in range(20)]
    try:
        sync = VolumeSync(clock=lambda: disk.now)
        assert sync.sync(here) == [None] * 20
        assert sync.sync(elsewhere) == [None] * 20
    finally:
        for handle in elsewhere:
            os.close(handle)
    assert (disk.volumes, disk.files) == (1, 20)


def test_a_handle_that_is_closed_fails_alone(handles: Callable[[int], list[int]]) -> None:
    """The others are on the disk; nothing is raised."""
    *others, closed = VolumeSync().sync([*handles(20), 100_000])
    assert others == [None] * 20
    assert closed is not None
    assert closed.errno == errno.EBADF


def test_a_busy_volume_is_left_alone_for_a_minute(
    disk: Disk, handles: Callable[[int], list[int]]
) -> None:
    """What others write there must not slow down every batch."""
    volume = VolumeSync(clock=lambda: disk.now)
    disk.takes = 5.0
    volume.sync(handles(50))
    disk.now += 50
    volume.sync(handles(50))
    assert (disk.volumes, disk.files) == (1, 50)
    disk.now += 20
    volume.sync(handles(50))
    assert (disk.volumes, disk.files) == (2, 50)


def test_a_volume_that_fails_gives_no_file_its_name(disk: Disk, tmp_path: Path) -> None:
    """Nobody knows which of them is lost, so none is there."""
    disk.fails = True
    outcomes = create_many(tmp_path, disk, nullcontext)
    assert all(isinstance(outcome, OSError) for outcome in outcomes)
    assert list(tmp_path.iterdir()) == []


def test_no_file_has_its_name_before_the_volume_is_synced(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content first, names second, the folder last."""
    placed: list[tuple[int, int]] = []

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    def placing() -> AbstractContextManager[object]:
        placed.append((disk.volumes, disk.files))
        return nullcontext()

    monkeypatch.setattr(os, "link", no_links)
    outcomes = create_many(tmp_path, disk, placing)
    assert all(isinstance(outcome, Made) for outcome in outcomes)
    assert placed == [(1, 0)] * 20
    assert disk.files == 1


def test_the_kernel_takes_the_call(handles: Callable[[int], list[int]]) -> None:
    """The real one; a handle that is none is an error."""
    (handle,) = handles(1)
    volume_sync._syncfs(handle)
    with pytest.raises(OSError, match="Bad file descriptor"):
        volume_sync._syncfs(-1)


@pytest.mark.parametrize(
    ("device", "kind"),
    [((254, 0), "ext4"), ((254, 16), "xfs"), ((0, 51), "nfs4"), ((8, 1), "")],
)
def test_the_mounts_tell_what_a_volume_is(device: tuple[int, int], kind: str) -> None:
    """By the number of its device; what is not there is not known."""
    assert kind_of_volume(MOUNTS, os.makedev(*device)) == kind


@pytest.mark.parametrize(
    ("release", "kind", "sound"),
    [
        ("6.1.0-18-amd64", "ext4", True),
        ("5.8.0", "xfs", True),
        ("5.7.19", "ext4", False),
        ("4.18.0-553.el8_10.x86_64", "xfs", False),
        ("6.1.0", "nfs4", False),
        ("strange", "ext4", False),
    ],
)
def test_only_local_volumes_of_kernels_that_tell_errors_are_synced_whole(
    release: str, kind: str, sound: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything else goes file by file."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"27 1 254:0 / / rw - {kind} /dev/vda rw\n")
    monkeypatch.setattr(volume_sync, "_MOUNTS", mounts)
    own = os.uname()
    uname = os.uname_result((own.sysname, own.nodename, release, own.version, own.machine))
    monkeypatch.setattr(os, "uname", lambda: uname)
    assert volume_sync._is_sound(os.makedev(254, 0)) is sound
