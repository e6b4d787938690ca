"""What the sync does to files of Harmony's home. Blocking: runs in worker threads.

Every change is made only if the file still is what the decision was made for, checked at the last
moment; what nobody else has a copy of goes to the state directory first.
"""

import contextlib
import errno
import logging
import os
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from harmony_agent.core.durable import NO_LINKS, Draft, sync_directory
from harmony_agent.core.errors import AgentError, PreconditionFailed, Refused, Unavailable
from harmony_agent.core.group_commit import Made, NewFile, create_together
from harmony_agent.core.open_folders import OpenFolders, read_small
from harmony_agent.core.threads import many_calls
from harmony_agent.core.volume_sync import VolumeSync
from harmony_agent.sync.decisions.states import LocalFile, digest
from harmony_agent.sync.home import custody
from harmony_agent.sync.home.local_errors import local_errors, translated
from harmony_agent.sync.home.streams import Incoming, Outgoing, content_hash

__all__ = ["HomeFiles", "SmallArrival"]

log = logging.getLogger(__name__)

_PRIVATE: Final = ("certs/", "data/")  # keys and certificates
_PRIVATE_MODE: Final = 0o600
_FILE_MODE: Final = 0o640
_FOLDER_MODE: Final = 0o750
_RESIDUE_AGE: Final = 3600.0  # seconds


class SmallArrival(NamedTuple):
    """A small file that is to replace the version `expected`; with `keep` a copy of that stays."""

    path: str
    data: bytes
    expected: LocalFile
    keep: bool


class _Written(NamedTuple):
    """A file that was written beside the version it is to replace."""

    path: str
    arrival: Incoming
    expected: LocalFile
    keep: bool

    @property
    def held(self) -> str:
        """Where the version that is replaced is taken out to."""
        return custody.held_path(self.path, self.expected.sha256, self.arrival.sha256)


class HomeFiles:
    """Reads and changes files below `home`; paths are relative, with slashes.

    All methods raise the errors of `local_errors`; PreconditionFailed (or Absent) means that the
    file is no longer what the caller believes.
    """

    def __init__(self, home: Path, kept: Path) -> None:
        """`kept` is the folder of the state directory that takes what is replaced or removed."""
        self.home = home
        self._kept = kept
        self._volume = VolumeSync()

    def read_all(self, files: Sequence[tuple[str, LocalFile]]) -> list[bytes | AgentError]:
        """The contents of these small files, each of which must be the version given (else
        PreconditionFailed); what became of each, in order."""
        folders = OpenFolders(self.home)
        try:
            with many_calls():
                return [self._read(folders, path, expected) for path, expected in files]
        finally:
            folders.close()

    def _read(self, folders: OpenFolders, path: str, expected: LocalFile) -> bytes | AgentError:
        folder, _, name = path.rpartition("/")
        try:
            found = read_small(folders.handle(folder), name)
        except OSError as error:
            return translated(error, self.home / path)
        if found is None or digest(found[0]) != expected.sha256:
            return PreconditionFailed(f"{self.home / path} has changed")
        return found[0]

    def is_absent(self, path: str) -> bool:
        """Whether nothing at all stands at `path`."""
        target = self.home / path
        with local_errors(target):
            try:
                target.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return True
        return False

    def present(self, path: str) -> LocalFile | None:
        """The version that stands at `path`, None if nothing does; raises Refused for what is no
        regular file."""
        target = self.home / path
        with local_errors(target):
            try:
                status = target.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"{target} is no regular file; put it out of the way")
            sha256 = content_hash(target)
        return LocalFile(sha256, status.st_size, status.st_mtime_ns, status.st_ino)

    def outgoing(self, path: str, expected: LocalFile) -> Outgoing:
        """The version `expected` in pieces."""
        target = self.home / path
        with local_errors(target):
            return Outgoing(target, expected)

    def incoming(self, path: str) -> Incoming:
        """An empty file beside `path`, for `place`."""
        target = self.home / path
        with local_errors(target):
            try:
                return Incoming(target, _mode_of(path))
            except FileNotFoundError:
                self._make_folder(path.rpartition("/")[0])
                return Incoming(target, _mode_of(path))

    def create_all(self, files: Sequence[tuple[str, bytes]]) -> list[LocalFile | AgentError]:
        """Put each of these small files where none is; what became of each, in order."""
        folders = OpenFolders(self.home, self._make_folder)
        new = [NewFile(path, data, _mode_of(path)) for path, data in files]
        try:
            found = create_together(new, folders, self._volume)
        finally:
            folders.close()
        return [self._arrived(file, each) for file, each in zip(new, found, strict=True)]

    def _arrived(self, file: NewFile, found: Made | Exception) -> LocalFile | AgentError:
        if isinstance(found, Made):
            return LocalFile(digest(file.data), found.size, found.mtime_ns, found.inode)
        if not isinstance(found, OSError):
            raise found
        return translated(found, self.home / file.path)

    def place(
        self,
        path: str,
        arrival: Incoming,
        expected: LocalFile | None,
        keep: bool,
        until: float,
    ) -> LocalFile:
        """Have a written file replace the version `expected`, or (None) take a name that is free;
        with `keep` a copy of `expected` stays. `until`: see exchange_all."""
        target = self.home / path
        with local_errors(target):
            arrival.draft.sync()
            if expected is None:
                _place_new(arrival.draft)
                sync_directory(target.parent)
                return arrival.described()
        (placed,) = self._place_all([_Written(path, arrival, expected, keep)], until)
        if isinstance(placed, AgentError):
            raise placed
        return placed

    def exchange_all(
        self, files: Sequence[SmallArrival], until: float
    ) -> list[LocalFile | AgentError]:
        """Replace these versions; what became of each, in order. At `until` (time.monotonic) the
        caller waits no longer: what is not done by then is left alone."""
        outcomes: dict[str, LocalFile | AgentError] = {}
        written: list[_Written] = []
        with contextlib.ExitStack() as arrivals:
            for path, data, expected, keep in files:
                try:
                    arrival = self.incoming(path)
                    arrivals.callback(arrival.discard)
                    written.append(_Written(path, arrival, expected, keep))
                    with local_errors(arrival.draft.target):
                        arrival.write(data)
                except AgentError as error:
                    outcomes[path] = error
            whole = [each for each in written if each.path not in outcomes]
            failures = self._volume.sync([each.arrival.draft.fileno() for each in whole])
            for each, failure in zip(whole, failures, strict=True):
                if failure is not None:
                    outcomes[each.path] = translated(failure, each.arrival.draft.target)
            synced = [each for each in whole if each.path not in outcomes]
            placed = self._place_all(synced, until)
            outcomes |= {each.path: found for each, found in zip(synced, placed, strict=True)}
            return [outcomes[file.path] for file in files]

    def _place_all(self, written: Sequence[_Written], until: float) -> list[LocalFile | AgentError]:
        """Have synced files replace the versions expected; what became of each, in order."""
        outcomes: dict[str, LocalFile | AgentError] = {}
        ready = []
        for each in written:
            try:
                self._verify(each.path, each.expected, each.keep)
                self._settle(each.held)  # a killed agent's
                ready.append(each)
            except AgentError as error:
                outcomes[each.path] = error
        if time.monotonic() > until:  # nobody knows any more that this is under way
            outcomes |= {
                each.path: Unavailable(f"{self.home / each.path}: its volume is too slow")
                for each in ready
            }
            ready = []
        failures = custody.replace_all(
            [custody.Replacement(e.arrival.draft, self.home / e.held, e.expected) for e in ready]
        )
        for each, failure in zip(ready, failures, strict=True):
            try:
                self._settle(each.held)
                if failure is None:
                    outcomes[each.path] = each.arrival.described()
                else:
                    with local_errors(each.arrival.draft.target):
                        raise failure
            except AgentError as error:
                outcomes[each.path] = error
        return [outcomes[each.path] for each in written]

    def withdraw(self, path: str, expected: LocalFile, keep: bool) -> None:
        """Remove the version `expected`; with `keep` a copy of it stays."""
        target = self.home / path
        self._verify(path, expected, keep)
        held = custody.held_path(path, expected.sha256, expected.sha256)
        self._settle(held)  # a killed agent's
        try:
            with local_errors(target):
                custody.remove(target, self.home / held, expected)
        finally:
            self._settle(held)

    def sweep(self, residue: Iterable[str], *, younger_too: bool) -> int:
        """Remove temporary files that a killed agent left; how many were removed. What Harmony
        wrote while that agent replaced or removed it is kept.

        Without `younger_too` only those older than an hour: younger ones may be in use.
        """
        removed = 0
        latest = time.time() - (0 if younger_too else _RESIDUE_AGE)
        for path in residue:
            with contextlib.suppress(OSError, AgentError):  # gone, or next time
                target = self.home / path
                # Not the time of writing: a file that was taken out may have lain there for years.
                if target.lstat().st_ctime <= latest:
                    self._settle(path)
                    target.unlink(missing_ok=True)
                    removed += 1
        if removed:
            log.info(
                "removed temporary files of an agent that was killed", extra={"files": removed}
            )
        return removed

    def _settle(self, residue: str) -> None:
        """Remove a file that was taken out, if it is there; if its content is not known, it is kept
        first."""
        folder, slash, held = residue.rpartition("/")
        name = custody.name_of_held(held)
        found = None if name is None else self.present(residue)
        if found is None:
            return
        if not custody.is_known(held, found.sha256):
            path = f"{folder}{slash}{name}"
            kept = self._keep(residue, found, path)
            log.warning(
                "Harmony wrote a file in the moment in which the agent replaced or removed it; "
                "what it wrote is kept",
                extra={"file": path, "kept": str(kept)},
            )
        with local_errors(self.home / residue):
            (self.home / residue).unlink(missing_ok=True)

    def _make_folder(self, path: str) -> None:
        missing = []
        folder = self.home / path
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for made in reversed(missing):
            made.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            sync_directory(made.parent)

    def _verify(self, path: str, expected: LocalFile, keep: bool) -> None:
        """Make sure that home holds `expected`, and with `keep` that a copy of it does as well."""
        if keep:
            self._keep(path, expected, path)
            return
        with local_errors(self.home / path):
            found = content_hash(self.home / path)
        if found != expected.sha256:
            raise PreconditionFailed(f"{self.home / path} has changed")

    def _keep(self, source_path: str, expected: LocalFile, path: str) -> Path:
        """Copy to the kept folder as `path`; where to. Home and state directory may lie on
        different volumes."""
        target = self._kept / path
        source = self.outgoing(source_path, expected)
        try:
            with local_errors(target):
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if target.exists() and content_hash(target) != expected.sha256:
                    target = target.with_name(f"{target.name}.{expected.sha256[:8]}")
                copy = Incoming(target, _PRIVATE_MODE)
                try:
                    while piece := source.next():
                        copy.write(piece)
                    copy.draft.sync()
                    copy.draft.put_over()
                    sync_directory(target.parent)
                finally:
                    copy.discard()
        finally:
            source.close()
        return target


def _place_new(draft: Draft) -> None:
    try:
        draft.put_new()
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # A volume without hard links (SMB, some FUSE): the check just before has to do.
        if os.path.lexists(draft.target):
            raise FileExistsError(
                errno.EEXIST, os.strerror(errno.EEXIST), str(draft.target)
            ) from error
        draft.put_over()


def _mode_of(path: str) -> int:
    return _PRIVATE_MODE if path.startswith(_PRIVATE) else _FILE_MODE
