"""A mounted folder as a repository: plain system calls, made safe for several nodes.

A file is written beside its target, synced and put in place in one step. Check and change are one
step by flock(2) on a lock file; creating needs no lock, since link(2) refuses an existing name.
"""

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import ClassVar, Final

from harmony_agent.core.durable import NO_LINKS, Draft, is_temporary, sync_directory, temporary_name
from harmony_agent.core.errors import AgentError, PreconditionFailed, Refused, Unsupported
from harmony_agent.core.group_commit import Made, NewFile, create_together, replace_together
from harmony_agent.core.open_folders import OpenFolders, read_small
from harmony_agent.core.volume_sync import VolumeSync
from harmony_agent.repositories.file_errors import translate
from harmony_agent.repositories.file_lock import locked
from harmony_agent.repositories.folder_watch import FolderWatch
from harmony_agent.repositories.folders import (
    LOCK_FILE,
    LOCK_WAIT,
    FolderRepository,
    Opened,
    Scan,
    Staged,
    abandoned,
)
from harmony_agent.repositories.interface import Content, Entry, Token
from harmony_agent.repositories.layout import CONTROL
from harmony_agent.repositories.limits import CONTROL_LIMIT, data_limit
from harmony_agent.repositories.names import check_path, parents
from harmony_agent.settings.model import FileRepository

__all__ = ["FileConnector"]

# Several nodes and Harmony itself write here, not always under one UID but in one group (fsGroup):
# the group may write as well, whatever this process' umask; others may not even read, since
# certificates and keys lie here.
_FILE_MODE: Final = 0o660
_FOLDER_MODE: Final = 0o770
_TOGETHER: Final = 64  # files that are read or made in one go; each new one keeps two handles open
_USUAL: Final = 1024 * 1024  # bytes of a file that is read whole; callers bound their sum


def _token(found: os.stat_result) -> Token:
    return _token_from(found, found.st_ctime_ns)


def _token_of_ours(draft: Draft) -> Token:
    """The token of what we wrote, not of what somebody made of it once it had its name."""
    return _token_from(draft.written, draft.ctime_ns)


def _token_from(found: os.stat_result, ctime_ns: int) -> Token:
    return Token(f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}-{ctime_ns}")


class FileConnector(FolderRepository):
    """`folder` below the mounted folder of `settings`; needs nothing else from `connect`."""

    kind: ClassVar[str] = "file"

    def __init__(self, settings: FileRepository, folder: str, **_: object) -> None:
        self._base = Path(settings.root)
        self._root = self._base / folder
        self._folds_case = False
        self._watch = FolderWatch()
        self._volume = VolumeSync()
        super().__init__()

    @property
    def location(self) -> str:
        """See Repository."""
        return str(self._root)

    @property
    def together(self) -> int:
        """See Repository."""
        return _TOGETHER

    @property
    def folds_case(self) -> bool:
        """See Repository. Known once it was opened."""
        return self._folds_case

    def _check(self, path: str) -> None:
        check_path(path)
        if is_temporary(path.rpartition("/")[2]) or path == LOCK_FILE:
            raise Unsupported(f"{path!r} is a name of the agent's own temporary files")

    def _translate(self, error: Exception, what: str) -> AgentError:
        return translate(error, what)

    def _connect(self) -> None:
        self._require_base()
        self._folds_case = self._probe_case()

    def _require_base(self) -> None:
        """An unmounted volume must not look like an empty repository."""
        if not self._base.is_dir():
            raise Refused(f"{self._base} is not a folder; mount the repository's volume there")

    def _probe_case(self) -> bool:
        """Whether the volume takes names that differ only in case for one, as mounts by SMB do."""
        probe = self._base / temporary_name()
        try:
            probe.touch(_FILE_MODE)
            return probe.with_name(probe.name.upper()).exists()
        except OSError:
            return False  # nothing can be written there, so nothing can fold
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()

    async def close(self) -> None:
        """See Repository."""
        self._watch.close()
        await super().close()

    async def await_change(self, folder: str, limit: float) -> None:
        """See Repository. On volumes of a network the kernel tells of this machine's changes
        only."""
        self._watch.begin()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._changed(folder, limit)

    async def _changed(self, folder: str, limit: float) -> None:
        def enter() -> asyncio.Event | None:
            return self._watch.enter(self._root / folder)

        try:
            changed = await self._run("watch", folder, CONTROL_LIMIT, enter)
        except AgentError:
            changed = None
        if changed is None:
            await asyncio.sleep(limit)
        else:
            await changed.wait()
            changed.clear()

    def _scan(self, folder: str) -> Scan:
        files: list[Entry] = []
        folders: list[str] = []
        try:
            entries = os.scandir(self._own_folder(folder))
        except FileNotFoundError:
            self._require_base()
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
                    files.append(Entry(path, found.st_size, _token(found)))
        return files, folders

    def _own(self, path: str) -> Path:
        """Where the file `path` lies; raises as `_own_folder` does."""
        folder, _, name = path.rpartition("/")
        return self._own_folder(folder) / name

    def _own_folder(self, folder: str) -> Path:
        """Where `folder` lies. Raises Refused if a link on the way leads elsewhere."""
        found = self._root
        for name in filter(None, folder.split("/")):
            found /= name
            if found.is_symlink():
                raise Refused(
                    f"{found} is a symbolic link, which is not followed; put a folder there"
                )
        return found

    def _stat(self, path: str) -> Entry | None:
        target = self._own(path)
        try:
            found = target.lstat()
            # Else a file that was renamed from `A` to `a` would look as if `A` still were there.
            is_this = not self._folds_case or target in target.parent.iterdir()
        except NotADirectoryError:
            return None  # below a file there is nothing
        except FileNotFoundError:
            self._require_base()
            return None
        if not is_this:
            return None
        return Entry(path, found.st_size, _token(found)) if stat.S_ISREG(found.st_mode) else None

    def _open(self, path: str) -> Opened:
        try:
            return _OpenedFile(FileIO(self._own(path)))
        except FileNotFoundError:
            self._require_base()
            raise

    async def read_all(self, paths: Sequence[str]) -> Sequence[Content | AgentError]:
        """See Repository. All in one thread."""
        limit = data_limit(len(paths) * _USUAL)
        return await self._run("read", _named(paths), limit, lambda: self._read_together(paths))

    def _read_together(self, paths: Sequence[str]) -> list[Content | AgentError]:
        folders = OpenFolders(self._root)

        def read(path: str) -> Content | AgentError:
            try:
                self._check(path)
                return self._read_in(folders, path)
            except Exception as error:  # noqa: BLE001 - handed to whoever asked for this file
                return self._failure("read", path, error)

        try:
            return list(map(read, paths))
        finally:
            folders.close()

    def _read_in(self, folders: OpenFolders, path: str) -> Content:
        folder, _, name = path.rpartition("/")
        try:
            found = read_small(folders.handle(folder), name)
        except OSError:
            found = None
        # What is out of the ordinary goes the ordinary way, which tells what it is.
        return self._read(path) if found is None else Content(found[0], _token(found[1]))

    def _stage(self, path: str) -> Staged:
        return _StagedFile(self._draft(path), self._put)

    async def create_all(self, files: Sequence[tuple[str, bytes]]) -> Sequence[Token | AgentError]:
        """See Repository. All in one thread; they share their waits for the disk."""
        limit = data_limit(len(files) * _USUAL)
        what = _named([path for path, _ in files])
        return await self._run("create", what, limit, lambda: self._create_together(files))

    def _create_together(self, files: Sequence[tuple[str, bytes]]) -> list[Token | AgentError]:
        def create(new: Sequence[NewFile], folders: OpenFolders) -> list[Made | Exception]:
            return create_together(new, folders, self._volume, self._locked)

        return self._write_together("create", files, create)

    async def replace_all(
        self, files: Sequence[tuple[str, bytes, Token]]
    ) -> Sequence[Token | AgentError]:
        """See Repository. All in one thread; they share the lock and their waits for the disk."""
        limit = data_limit(len(files) * _USUAL)
        what = _named([path for path, _, _ in files])
        return await self._run("replace", what, limit, lambda: self._replace_together(files))

    def _replace_together(
        self, files: Sequence[tuple[str, bytes, Token]]
    ) -> list[Token | AgentError]:
        tokens = {path: token for path, _, token in files}

        def change(file: NewFile, put_over: Callable[[], None]) -> None:
            self._require(file.path, tokens[file.path])
            put_over()

        def replace(new: Sequence[NewFile], folders: OpenFolders) -> list[Made | Exception]:
            return replace_together(new, folders, self._volume, change, self._locked)

        return self._write_together("replace", [(path, data) for path, data, _ in files], replace)

    def _write_together(
        self,
        verb: str,
        files: Sequence[tuple[str, bytes]],
        write: Callable[[Sequence[NewFile], OpenFolders], list[Made | Exception]],
    ) -> list[Token | AgentError]:
        problems = [self._problem(path) for path, _ in files]
        new = [
            NewFile(path, data, _FILE_MODE)
            for (path, data), problem in zip(files, problems, strict=True)
            if problem is None
        ]
        with contextlib.closing(OpenFolders(self._root, self._make_folder)) as folders:
            written = iter(write(new, folders))
        return [
            problem or self._written(verb, path, next(written))
            for (path, _), problem in zip(files, problems, strict=True)
        ]

    def _problem(self, path: str) -> Unsupported | None:
        try:
            self._check(path)
        except Unsupported as error:
            return error
        return None

    def _written(self, verb: str, path: str, found: Made | Exception) -> Token | AgentError:
        if isinstance(found, Made):
            return Token(f"{found.inode}-{found.size}-{found.mtime_ns}-{found.ctime_ns}")
        if isinstance(found, FileExistsError):
            return self._taken(path)
        try:
            self._own(path)
        except (AgentError, OSError) as error:  # there is a link on the way
            found = error
        return self._failure(verb, path, found)

    def _failure(self, verb: str, path: str, error: Exception) -> AgentError:
        if isinstance(error, AgentError):
            return error
        failure = translate(error, self._what(verb, path))
        failure.__cause__ = error
        return failure

    def _draft(self, path: str) -> Draft:
        """An empty draft of `path`, whose folder is made if need be."""
        target = self._own(path)
        try:
            return Draft(target, mode=_FILE_MODE)
        except FileNotFoundError:
            self._make_folder(str(target.parent.relative_to(self._root)))
            return Draft(target, mode=_FILE_MODE)

    def _put(self, draft: Draft, token: Token | None) -> Token:
        """Give a synced draft its name; the token of exactly this file."""
        path = str(draft.target.relative_to(self._root))
        if token is None:
            self._put_new(draft, path)
        else:
            with self._locked():
                self._require(path, token)
                draft.put_over()
        sync_directory(draft.target.parent)
        return _token_of_ours(draft)

    def _put_new(self, draft: Draft, path: str) -> None:
        try:
            draft.put_new()
        except FileExistsError:
            raise self._taken(path) from None
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            # Some network file systems (Azure Files over SMB) have no hard links.
            with self._locked():
                if os.path.lexists(draft.target):
                    raise self._taken(path) from None
                draft.put_over()

    def _taken(self, path: str) -> PreconditionFailed:
        return PreconditionFailed(f"{path!r} exists in {self.location}")

    def _require(self, path: str, token: Token) -> None:
        if self._present(path) != token:
            raise PreconditionFailed(f"{path!r} is not that version in {self.location}")

    def _present(self, path: str) -> Token | None:
        """The token of the file that stands there at this moment. What a network's volume knows of
        a file may be a minute old, but it asks when one is opened (nfs(5), "Close-to-open cache
        consistency")."""
        known = self._stat(path)
        if known is None:
            return None
        try:
            handle = os.open(self._own(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError:  # not ours to read
            return known.token
        try:
            return _token(os.fstat(handle))
        finally:
            os.close(handle)

    def _delete(self, path: str, token: Token) -> None:
        with self._locked():
            present = self._present(path)
            if present is None:
                return
            if present != token:
                raise PreconditionFailed(f"{path!r} is not that version in {self.location}")
            target = self._own(path)
            target.unlink()
            sync_directory(target.parent)

    def _make_folder(self, path: str) -> None:
        self._require_base()
        relative = (self._root / path).relative_to(self._base)
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
    def _locked(self) -> Iterator[None]:
        lock = self._root / LOCK_FILE
        if not lock.parent.exists():
            self._make_folder(CONTROL)
        with locked(lock, _FILE_MODE, LOCK_WAIT):
            yield


def _named(paths: Sequence[str]) -> str:
    """Several files, for a person."""
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


class _StagedFile(Staged):
    def __init__(self, draft: Draft, put: Callable[[Draft, Token | None], Token]) -> None:
        self._draft = draft
        self._put = put

    def write(self, data: bytes) -> None:
        self._draft.write(data)

    def publish(self, token: Token | None) -> Token:
        self._draft.sync()
        return self._put(self._draft, token)

    def discard(self) -> None:
        self._draft.discard()


class _OpenedFile(Opened):
    def __init__(self, file: FileIO) -> None:
        self._file = file
        found = os.fstat(file.fileno())
        self.size, self.token = found.st_size, _token(found)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def is_unchanged(self) -> bool:
        return _token(os.fstat(self._file.fileno())) == self.token

    def close(self) -> None:
        self._file.close()
