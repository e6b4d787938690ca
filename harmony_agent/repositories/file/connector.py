"""A mounted folder as a repository: plain system calls, made safe for several nodes.

A file is written beside its target, synced and put in place in one step. Replacing takes the
folder's lock; creating needs none, since link(2) refuses an existing name.
"""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from typing import ClassVar, Final

from harmony_agent.core.durable import NO_LINKS, Draft, is_temporary, sync_directory
from harmony_agent.core.errors import AgentError, Unsupported
from harmony_agent.core.group_commit import Made, NewFile, create_together, replace_together
from harmony_agent.core.open_folders import OpenFolders, read_small
from harmony_agent.core.threads import many_calls
from harmony_agent.core.volume_sync import VolumeSync
from harmony_agent.repositories.file.errors import translate
from harmony_agent.repositories.file.mounted_folder import (
    FILE_MODE,
    MountedFolder,
    token_from,
    token_of,
)
from harmony_agent.repositories.file.watch import FolderWatch
from harmony_agent.repositories.folders import (
    LOCK_FILE,
    THREADS,
    FolderRepository,
    Opened,
    Scan,
    Staged,
)
from harmony_agent.repositories.interface import Content, Entry, Token
from harmony_agent.repositories.limits import CONTROL_LIMIT, DATA_LIMIT, data_limit
from harmony_agent.repositories.names import check_path
from harmony_agent.settings.model import FileRepository

__all__ = ["FileConnector"]

# Files that are read or made in one go; each new one keeps a handle open, and one of its folder.
_TOGETHER: Final = 256
_QUICK: Final = 0.1  # seconds of listing by one thread before another helps
_USUAL: Final = 1024 * 1024  # bytes of a file that is read whole; callers bound their sum


def _token_of_ours(draft: Draft) -> Token:
    """The token of what we wrote, not of what somebody made of it once it had its name."""
    return token_from(draft.written, draft.ctime_ns)


class FileConnector(FolderRepository):
    """`folder` below the mounted folder of `settings`; needs nothing else from `connect`."""

    kind: ClassVar[str] = "file"

    def __init__(self, settings: FileRepository, folder: str, **_: object) -> None:
        base = Path(settings.root)
        self._folder = MountedFolder(base, base / folder)
        self._watch = FolderWatch()
        self._volume = VolumeSync()
        super().__init__()

    @property
    def location(self) -> str:
        """See Repository."""
        return str(self._folder.root)

    @property
    def together(self) -> int:
        """See Repository."""
        return _TOGETHER

    @property
    def folds_case(self) -> bool:
        """See Repository. Known once it was opened."""
        return self._folder.folds_case

    def _check(self, path: str) -> None:
        check_path(path)
        if is_temporary(path.rpartition("/")[2]) or path == LOCK_FILE:
            raise Unsupported(f"{path!r} is a name of the agent's own temporary files")

    def _translate(self, error: Exception, what: str) -> AgentError:
        return translate(error, what)

    def _connect(self) -> None:
        self._folder.connect()

    def _scan(self, folder: str) -> Scan:
        return self._folder.scan(folder)

    async def _scan_all(self, folders: Sequence[str]) -> Sequence[Scan]:
        """See FolderRepository. One thread, as long as that is quick: several only fight for the
        interpreter where the volume answers at once, and win time where it does not."""
        pending = deque(folders)
        found: list[Scan] = []

        async def scan(group: asyncio.TaskGroup, others: int) -> None:
            while pending:
                found.extend(await self._run("list", "", DATA_LIMIT, partial(self._some, pending)))
                if pending and others:
                    group.create_task(scan(group, others - 1))
                    others = 0

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(scan(group, THREADS // 2 - 1))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return found

    def _some(self, pending: deque[str]) -> list[Scan]:
        """Scan folders until none is left, or others had better help."""
        found: list[Scan] = []
        enough = time.monotonic() + _QUICK
        while time.monotonic() < enough:
            try:
                folder = pending.popleft()
            except IndexError:
                break
            try:
                found.append(self._folder.scan(folder))
            except Exception as error:
                raise self._failure("list", folder, error) from error
        return found

    def _stat(self, path: str) -> Entry | None:
        return self._folder.entry(path)

    def _delete(self, path: str, token: Token) -> None:
        self._folder.delete(path, token)

    def _make_folder(self, path: str) -> None:
        self._folder.make_folder(path)

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
            return self._watch.enter(self._folder.root / folder)

        try:
            changed = await self._run("watch", folder, CONTROL_LIMIT, enter)
        except AgentError:
            changed = None
        if changed is None:
            await asyncio.sleep(limit)
        else:
            await changed.wait()
            changed.clear()

    def _open(self, path: str) -> Opened:
        try:
            return _OpenedFile(FileIO(self._folder.own(path)))
        except FileNotFoundError:
            self._folder.require_base()
            raise

    async def read_all(self, paths: Sequence[str]) -> Sequence[Content | AgentError]:
        """See Repository. All in one thread."""
        limit = data_limit(len(paths) * _USUAL)
        return await self._run("read", _named(paths), limit, lambda: self._read_together(paths))

    def _read_together(self, paths: Sequence[str]) -> list[Content | AgentError]:
        folders = OpenFolders(self._folder.root)

        def read(path: str) -> Content | AgentError:
            try:
                self._check(path)
                return self._read_in(folders, path)
            except Exception as error:  # noqa: BLE001 - handed to whoever asked for this file
                return self._failure("read", path, error)

        try:
            with many_calls():
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
        return self._read(path) if found is None else Content(found[0], token_of(found[1]))

    def _stage(self, path: str) -> Staged:
        return _StagedFile(self._draft(path), self._put)

    async def create_all(self, files: Sequence[tuple[str, bytes]]) -> Sequence[Token | AgentError]:
        """See Repository. All in one thread; they share their waits for the disk."""
        limit = data_limit(len(files) * _USUAL)
        what = _named([path for path, _ in files])
        return await self._run("create", what, limit, lambda: self._create_together(files))

    def _create_together(self, files: Sequence[tuple[str, bytes]]) -> list[Token | AgentError]:
        def create(new: Sequence[NewFile], folders: OpenFolders) -> list[Made | Exception]:
            return create_together(new, folders, self._volume, self._folder.alone)

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
            self._folder.require(file.path, tokens[file.path])
            put_over()

        def replace(new: Sequence[NewFile], folders: OpenFolders) -> list[Made | Exception]:
            return replace_together(new, folders, self._volume, change, self._folder.alone)

        return self._write_together("replace", [(path, data) for path, data, _ in files], replace)

    def _write_together(
        self,
        verb: str,
        files: Sequence[tuple[str, bytes]],
        write: Callable[[Sequence[NewFile], OpenFolders], list[Made | Exception]],
    ) -> list[Token | AgentError]:
        problems = [self._problem(path) for path, _ in files]
        new = [
            NewFile(path, data, FILE_MODE)
            for (path, data), problem in zip(files, problems, strict=True)
            if problem is None
        ]
        with contextlib.closing(
            OpenFolders(self._folder.root, self._folder.make_folder)
        ) as folders:
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
            return self._folder.taken(path)
        try:
            self._folder.own(path)
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
        target = self._folder.own(path)
        try:
            return Draft(target, mode=FILE_MODE)
        except FileNotFoundError:
            self._folder.make_folder(str(target.parent.relative_to(self._folder.root)))
            return Draft(target, mode=FILE_MODE)

    def _put(self, draft: Draft, token: Token | None) -> Token:
        """Give a synced draft its name; the token of exactly this file."""
        path = str(draft.target.relative_to(self._folder.root))
        if token is None:
            self._put_new(draft, path)
        else:
            with self._folder.alone():
                self._folder.require(path, token)
                draft.put_over()
        sync_directory(draft.target.parent)
        return _token_of_ours(draft)

    def _put_new(self, draft: Draft, path: str) -> None:
        try:
            draft.put_new()
        except FileExistsError:
            raise self._folder.taken(path) from None
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            # Some network file systems (Azure Files over SMB) have no hard links.
            with self._folder.alone():
                if os.path.lexists(draft.target):
                    raise self._folder.taken(path) from None
                draft.put_over()


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
        self.size, self.token = found.st_size, token_of(found)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def is_unchanged(self) -> bool:
        return token_of(os.fstat(self._file.fileno())) == self.token

    def close(self) -> None:
        self._file.close()
