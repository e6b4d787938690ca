"""Many small files written at the price of a few waits for the disk."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from harmony_agent.core.durable import NO_LINKS, temporary_name
from harmony_agent.core.open_folders import OpenFolders
from harmony_agent.core.threads import many_calls
from harmony_agent.core.volume_sync import VolumeSync

__all__ = ["Made", "NewFile", "create_together", "replace_together"]

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class NewFile(NamedTuple):
    """A file that is to be written: its path below the root, its content, its permissions."""

    path: str
    data: bytes
    mode: int


class Made(NamedTuple):
    """A file as it was written (inode, size in bytes, time of change), just before it got its name:
    under that somebody else may write into it at once. `ctime_ns` is later: getting a name is a
    change, too."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def create_together(
    files: Sequence[NewFile],
    folders: OpenFolders,
    volume: VolumeSync,
    alone: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
) -> list[Made | Exception]:
    """Make these files below the root of `folders`. On a volume without hard links a name is
    looked for and taken within `alone`, which has to keep out whoever else might take it.

    The outcomes in order: what was made, once it is on the disk under its name, or an error,
    which is that file's alone (OSError, FileExistsError if the name is taken; what `folders` and
    `alone` raise); a volume that can't be synced fails all.

    No file gets its name before its content is on the disk: all are written, all are synced, all
    get their names, and then each folder is synced once.
    """

    def put(drafts: Sequence[_Draft]) -> None:
        with many_calls():
            _each(drafts, lambda draft: draft.put_new(alone))

    return _write_together(files, folders, volume, put)


def replace_together(
    files: Sequence[NewFile],
    folders: OpenFolders,
    volume: VolumeSync,
    change: Callable[[NewFile, Callable[[], None]], None],
    alone: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
) -> list[Made | Exception]:
    """Put these files in the place of others; the outcomes are those of `create_together`.

    Once all of them are on the disk, `change` is called for each, with what gives it its name
    whatever stands there: it looks whether that may go, and raises what is against it. `alone` is
    entered once, around all of these calls; what it raises fails all.
    """

    def put(drafts: Sequence[_Draft]) -> None:
        with alone(), many_calls():
            _each(drafts, lambda draft: change(draft.file, draft.put_over))

    return _write_together(files, folders, volume, put)


def _write_together(
    files: Sequence[NewFile],
    folders: OpenFolders,
    volume: VolumeSync,
    put: Callable[[Sequence["_Draft"]], None],
) -> list[Made | Exception]:
    stem = temporary_name()
    drafts = [_Draft(file, f"{stem}-{number}") for number, file in enumerate(files)]
    try:
        with many_calls():
            _each(drafts, lambda draft: draft.write(folders))
        written = [draft for draft in drafts if draft.failure is None]
        failures = volume.sync([draft.handle for draft in written])
        for draft, failure in zip(written, failures, strict=True):
            draft.failure = failure
        put(drafts)
        _sync_folders(drafts, folders)
        return [draft.outcome for draft in drafts]
    finally:
        for draft in drafts:
            draft.discard()


class _Draft:
    """A file under a temporary name in its own folder; `failure` is what hindered it."""

    __slots__ = ("_folder", "_made", "_name", "_temporary", "failure", "file", "handle", "parent")

    def __init__(self, file: NewFile, temporary: str) -> None:
        self.file = file
        self.parent, _, self._name = file.path.rpartition("/")
        self._temporary = temporary
        self._folder = self.handle = -1
        self._made: Made | None = None
        self.failure: Exception | None = None

    @property
    def outcome(self) -> Made | Exception:
        """What was made, or why it was not."""
        outcome = self.failure or self._made
        assert outcome is not None, "it was not put in place"
        return outcome

    def write(self, folders: OpenFolders) -> None:
        """Make it, with its content."""
        self._folder = folders.handle(self.parent)
        self.handle = os.open(self._temporary, _NEW, self.file.mode, dir_fd=self._folder)
        os.fchmod(self.handle, self.file.mode)  # the mode asked for, whatever the umask
        data = self.file.data
        written = os.write(self.handle, data)
        while written < len(data):
            written += os.write(self.handle, data[written:])

    def put_new(self, alone: Callable[[], AbstractContextManager[object]]) -> None:
        """Give it its name, which must be free."""
        folder = self._folder
        written = os.fstat(self.handle)
        try:
            # Fails if the name is taken, unlike rename.
            os.link(self._temporary, self._name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            with alone():
                self._take_name()
        else:
            os.unlink(self._temporary, dir_fd=folder)
        self._has_name(written)

    def put_over(self) -> None:
        """Give it its name, whatever stands there."""
        written = os.fstat(self.handle)
        self._rename()
        self._has_name(written)

    def _take_name(self) -> None:
        try:
            os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            self._rename()
        else:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._name)

    def _rename(self) -> None:
        folder = self._folder
        os.rename(self._temporary, self._name, src_dir_fd=folder, dst_dir_fd=folder)

    def _has_name(self, written: os.stat_result) -> None:
        self._temporary = ""
        ctime_ns = os.fstat(self.handle).st_ctime_ns
        self._made = Made(written.st_ino, written.st_size, written.st_mtime_ns, ctime_ns)

    def discard(self) -> None:
        """Close it, and remove it unless it has its name; never raises."""
        if self.handle == -1:
            return
        with contextlib.suppress(OSError):
            os.close(self.handle)
        if self._temporary:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._folder)


def _each(drafts: Iterable[_Draft], step: Callable[[_Draft], None]) -> None:
    """Take a step with every draft that got so far."""
    for draft in drafts:
        if draft.failure is None:
            try:
                step(draft)
            except Exception as error:  # noqa: BLE001 - handed to whoever asked for this file
                draft.failure = error


def _sync_folders(drafts: Iterable[_Draft], folders: OpenFolders) -> None:
    by_folder: dict[str, list[_Draft]] = {}
    for draft in drafts:
        if draft.failure is None:
            by_folder.setdefault(draft.parent, []).append(draft)
    for parent, there in by_folder.items():
        try:
            folders.sync(parent)
        except OSError as error:
            for draft in there:
                draft.failure = error
