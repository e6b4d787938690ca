"""The files of a repository in a mounted folder: found, compared and removed by system calls.

No link below the folder is followed. Check and change are one step by flock(2) on a lock file.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harmony_agent.core.durable import is_temporary, sync_directory, temporary_name
from harmony_agent.core.errors import PreconditionFailed, Refused
from harmony_agent.repositories.file.lock import locked
from harmony_agent.repositories.folders import LOCK_FILE, LOCK_WAIT, Scan, abandoned
from harmony_agent.repositories.interface import Entry, Token
from harmony_agent.repositories.layout import CONTROL
from harmony_agent.repositories.names import parents

__all__ = ["FILE_MODE", "MountedFolder", "token_from", "token_of"]

# Several nodes and Harmony itself write here, not always under one UID but in one group (fsGroup):
# the group may write as well, whatever this process' umask; others may not even read, since
# certificates and keys lie here.
FILE_MODE: Final = 0o660
_FOLDER_MODE: Final = 0o770


def token_of(found: os.stat_result) -> Token:
    """The token of a file as it was found."""
    return token_from(found, found.st_ctime_ns)


def token_from(found: os.stat_result, ctime_ns: int) -> Token:
    """The same with another time of change, in nanoseconds."""
    return Token(f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}-{ctime_ns}")


class MountedFolder:
    """The folder `root` below the mount point `base`. Paths are relative to it, with slashes; all
    methods block and raise OSError besides what they name."""

    def __init__(self, base: Path, root: Path) -> None:
        self._base = base
        self.root = root
        self.folds_case = False
        """Whether names that differ only in case are one; known after `connect`."""

    def connect(self) -> None:
        """Learn what the volume is like; raises Refused if none is mounted."""
        self.require_base()
        self.folds_case = self._probe_case()

    def require_base(self) -> None:
        """Raise Refused without a mounted volume, which must not look like an empty repository."""
        if not self._base.is_dir():
            raise Refused(f"{self._base} is not a folder; mount the repository's volume there")

    def _probe_case(self) -> bool:
        """Whether the volume takes names that differ only in case for one, as mounts by SMB do."""
        probe = self._base / temporary_name()
        try:
            probe.touch(FILE_MODE)
            return probe.with_name(probe.name.upper()).exists()
        except OSError:
            return False  # nothing can be written there, so nothing can fold
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()

    def scan(self, folder: str) -> Scan:
        """See FolderRepository._scan."""
        files: list[Entry] = []
        folders: list[str] = []
        try:
            entries = os.scandir(self._own_folder(folder))
        except FileNotFoundError:
            self.require_base()
            return files, folders
        with entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # deleted meanwhile
                if is_temporary(entry.name):
                    if abandoned(found.st_mtime):
                        Path(entry.path).unlink(missing_ok=True)
                elif stat.S_ISREG(found.st_mode):
                    files.append(Entry(path, found.st_size, token_of(found)))
        return files, folders

    def own(self, path: str) -> Path:
        """Where the file `path` lies. Raises Refused if a link on the way leads elsewhere."""
        folder, _, name = path.rpartition("/")
        return self._own_folder(folder) / name

    def _own_folder(self, folder: str) -> Path:
        found = self.root
        for name in filter(None, folder.split("/")):
            found /= name
            if found.is_symlink():
                raise Refused(
                    f"{found} is a symbolic link, which is not followed; put a folder there"
                )
        return found

    def entry(self, path: str) -> Entry | None:
        """The regular file `path` of exactly this name; None if there is none."""
        target = self.own(path)
        try:
            found = target.lstat()
            # Else a file that was renamed from `A` to `a` would look as if `A` still were there.
            is_this = not self.folds_case or target in target.parent.iterdir()
        except NotADirectoryError:
            return None  # below a file there is nothing
        except FileNotFoundError:
            self.require_base()
            return None
        if not is_this:
            return None
        return Entry(path, found.st_size, token_of(found)) if stat.S_ISREG(found.st_mode) else None

    def _present(self, path: str) -> Token | None:
        """The token of the file that stands there at this moment. What a network's volume knows of
        a file may be a minute old, but it asks when one is opened (nfs(5), "Close-to-open cache
        consistency")."""
        known = self.entry(path)
        if known is None:
            return None
        try:
            handle = os.open(self.own(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError:  # not ours to read
            return known.token
        try:
            return token_of(os.fstat(handle))
        finally:
            os.close(handle)

    def require(self, path: str, token: Token) -> None:
        """Raise PreconditionFailed unless `path` is this version; for a holder of the lock."""
        if self._present(path) != token:
            raise self._other(path)

    def _other(self, path: str) -> PreconditionFailed:
        return PreconditionFailed(f"{path!r} is not that version in {self.root}")

    def taken(self, path: str) -> PreconditionFailed:
        """The error for a name that should have been free."""
        return PreconditionFailed(f"{path!r} exists in {self.root}")

    def delete(self, path: str, token: Token) -> None:
        """Remove this version; one that is gone is no error, another raises PreconditionFailed."""
        with self.alone():
            present = self._present(path)
            if present is None:
                return
            if present != token:
                raise self._other(path)
            target = self.own(path)
            target.unlink()
            sync_directory(target.parent)

    def make_folder(self, path: str) -> None:
        """Make `path` and what is missing above it; raises Refused without a mounted volume."""
        self.require_base()
        relative = (self.root / path).relative_to(self._base)
        for name in parents(str(relative)):
            folder = self._base / name
            try:
                folder.mkdir(_FOLDER_MODE)
            except FileExistsError:
                if not folder.is_dir():  # a file, or a link to nowhere
                    raise NotADirectoryError(errno.ENOTDIR, "Not a folder", str(folder)) from None
                continue
            # Keeps set-group-id, by which new files get the volume's group.
            folder.chmod(_FOLDER_MODE | (folder.stat().st_mode & stat.S_ISGID))
            sync_directory(folder.parent)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the repository's lock; raises as `file_lock.locked` does."""
        lock = self.root / LOCK_FILE
        if not lock.parent.exists():
            self.make_folder(CONTROL)
        with locked(lock, FILE_MODE, LOCK_WAIT):
            yield
