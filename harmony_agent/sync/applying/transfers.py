"""Moves content between Harmony's home and the repository: small files whole, large ones in pieces.

Small files that go together share threads and waits for the disk; large ones are never in memory as
a whole. Either way a file is on the disk before anybody is told that it is.
"""

import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, TypeVar

from harmony_agent.core.errors import AgentError, PreconditionFailed
from harmony_agent.core.threads import Workers
from harmony_agent.repositories.interface import Content, Download, Repository
from harmony_agent.repositories.layout import SET_ASIDE
from harmony_agent.repositories.token import Token
from harmony_agent.sync.applying.crossing import Crossing
from harmony_agent.sync.conflicts.store import ConflictStore
from harmony_agent.sync.decisions.states import LocalFile, RemoteFile, digest
from harmony_agent.sync.home.files import HomeFiles, SmallArrival
from harmony_agent.sync.home.local_errors import local_errors
from harmony_agent.sync.home.streams import CHUNK, Incoming

__all__ = ["Transfers", "memory"]

R = TypeVar("R")

_LARGE: Final = 8 * 1024 * 1024  # bytes; what is larger goes in pieces
_PIECES: Final = 4  # of a large file that are in memory at the same time, library buffers included
_LIMIT: Final = 120.0  # seconds for a step with a local file, or with some that go together
_MORE: Final = 2.0  # seconds for each file of which a copy may have to stay: it is synced by itself
_SLOWEST: Final = 1024 * 1024  # bytes a second; a volume slower than this is broken


def memory(size: int) -> int:
    """Bytes that moving a file of `size` bytes takes."""
    return min(size, _PIECES * CHUNK) if size > _LARGE else size


class Transfers:
    """All methods raise the errors of Repository and HomeFiles; what is no longer what the caller
    believes (here or there) is left alone, with PreconditionFailed or Absent."""

    def __init__(
        self,
        *,
        repository: Repository,
        files: HomeFiles,
        workers: Workers,
        on_progress: Callable[[int], None],
    ) -> None:
        """`on_progress` is called with the bytes that have just moved: those of a small file, or
        of a piece of a large one."""
        self._repository = repository
        self._files = files
        self._workers = workers
        self._on_progress = on_progress

    async def send(
        self,
        path: str,
        local: LocalFile,
        token: Token | None,
        before_sending: Callable[[], Awaitable[None]],
    ) -> Token:
        """Home's version to the repository, where the version `token` (None: nothing) stands;
        `before_sending` is awaited before the repository is asked for anything, and again before
        each piece of a large file: what may be written can end meanwhile."""
        if local.size > _LARGE:
            await before_sending()
            async with aclosing(self._outgoing(path, local)) as chunks:
                pieces = _each_after(before_sending, chunks)
                return await self._repository.upload(path, local.size, pieces, token)
        data = await self._read(path, local)
        await before_sending()
        if token is None:
            new = await self._repository.create(path, data)
        else:
            new = await self._repository.replace(path, data, token)
        self._on_progress(len(data))
        return new

    async def fetch(
        self, path: str, remote: RemoteFile, on_read: Callable[[], None]
    ) -> tuple[LocalFile, Token]:
        """The repository's version to home, where nothing stands; `on_read` is called as soon as
        the repository is done with."""
        if remote.size > _LARGE:
            async with self._arriving(path, path) as (download, arrival):
                local = await self._place(path, arrival, None, keep=False)
                return local, download.token
        content = await self._read_there(path)
        on_read()
        (made,) = await self._create_together([(path, content.data)])
        if isinstance(made, AgentError):
            raise made
        return made, content.token

    async def send_all(
        self,
        files: Sequence[tuple[str, LocalFile]],
        tokens: Mapping[str, Token] | None,
        crossing: Crossing,
    ) -> Sequence[Token | AgentError]:
        """`send` small files together, where the versions `tokens` (None: nothing) stand; what
        became of each, in order."""
        contents = await self._read_together(files)
        there = [
            (path, data)
            for (path, _), data in zip(files, contents, strict=True)
            if isinstance(data, bytes)
        ]
        written = await _write_all(there, tokens, crossing) if there else ()
        moved = [
            len(data)
            for (_, data), outcome in zip(there, written, strict=True)
            if not isinstance(outcome, AgentError)
        ]
        self._on_progress(sum(moved))
        new = iter(written)
        return [next(new) if isinstance(data, bytes) else data for data in contents]

    async def fetch_all(
        self, paths: Sequence[str], crossing: Crossing
    ) -> Sequence[tuple[LocalFile, Token] | AgentError]:
        """`fetch` small files together; what became of each, in order."""
        contents = await self._read_all_there(paths, crossing)
        here = [
            (path, content.data)
            for path, content in zip(paths, contents, strict=True)
            if isinstance(content, Content)
        ]
        made = iter(await self._create_together(here) if here else ())
        return [
            _with_token(next(made), content.token) if isinstance(content, Content) else content
            for content in contents
        ]

    async def exchange(
        self, path: str, remote: RemoteFile, local: LocalFile, *, keep: bool
    ) -> tuple[LocalFile, Token]:
        """The repository's version to home in the place of `local`, unless it is the same content;
        with `keep` a copy of `local` stays in the state directory."""
        if remote.size > _LARGE:
            async with self._arriving(path, path) as (download, arrival):
                if arrival.sha256 != local.sha256:
                    local = await self._place(path, arrival, local, keep=keep)
                return local, download.token
        content = await self._read_there(path)
        if digest(content.data) != local.sha256:
            small = SmallArrival(path, content.data, local, keep)
            (exchanged,) = await self._exchange_together([small])
            if isinstance(exchanged, AgentError):
                raise exchanged
            local = exchanged
        return local, content.token

    async def exchange_all(
        self, files: Sequence[tuple[str, LocalFile, bool]], crossing: Crossing
    ) -> Sequence[tuple[LocalFile, Token] | AgentError]:
        """`exchange` small files (path, home's version, whether a copy of it stays) together; what
        became of each, in order."""
        contents = await self._read_all_there([path for path, _, _ in files], crossing)
        new = [
            SmallArrival(path, content.data, local, keep)
            for (path, local, keep), content in zip(files, contents, strict=True)
            if isinstance(content, Content) and digest(content.data) != local.sha256
        ]
        exchanged = await self._exchange_together(new) if new else ()
        arrived = {each.path: found for each, found in zip(new, exchanged, strict=True)}
        return [
            _with_token(arrived.get(path, local), content.token)
            if isinstance(content, Content)
            else content
            for (path, local, _), content in zip(files, contents, strict=True)
        ]

    async def bring(self, source: str, path: str, local: LocalFile | None) -> None:
        """The repository's file `source` to home, as `path`, in the place of `local` (None:
        nothing)."""
        async with self._arriving(path, source) as (_, arrival):
            await self._place(path, arrival, local, keep=False)

    async def withdraw(self, path: str, local: LocalFile, *, keep: bool) -> None:
        """Remove home's version; with `keep` a copy stays in the state directory."""
        await self._workers.run(_limit(local.size), self._files.withdraw, path, local, keep)

    async def set_aside(self, path: str, remote: RemoteFile) -> tuple[str, Token]:
        """Copy the repository's version within the repository; where to, and what it was."""
        if remote.size > _LARGE:
            async with self._repository.download(path) as download:
                aside = _aside(path, download.token)
                async with self._unless_kept(aside):
                    await self._repository.upload(aside, download.size, self._told(download), None)
                return aside, download.token
        content = await self._read_there(path)
        aside = _aside(path, content.token)
        async with self._unless_kept(aside):
            await self._repository.create(aside, content.data)
        return aside, content.token

    async def keep_in_conflict(self, store: ConflictStore, path: str, local: LocalFile) -> str:
        """Copy home's version to the conflict store; its key there."""
        if local.size > _LARGE:
            async with aclosing(self._outgoing(path, local)) as chunks:
                return await store.keep_large(path, local.size, chunks, local.sha256)
        key = await store.keep(path, await self._read(path, local))
        self._on_progress(local.size)
        return key

    async def look(self, path: str, remote: RemoteFile) -> RemoteFile:
        """The repository's version with the hash of its content."""
        if remote.size > _LARGE:
            found = sha256()
            async with self._repository.download(path) as download:
                async for chunk in self._told(download):
                    await self._workers.run(_LIMIT, found.update, chunk)
                return RemoteFile(download.token, download.size, found.hexdigest())
        content = await self._read_there(path)
        return RemoteFile(content.token, len(content.data), digest(content.data))

    async def look_all(
        self, paths: Sequence[str], crossing: Crossing
    ) -> Sequence[RemoteFile | AgentError]:
        """`look` at small files together; what became of each, in order."""
        return [
            RemoteFile(content.token, len(content.data), digest(content.data))
            if isinstance(content, Content)
            else content
            for content in await self._read_all_there(paths, crossing)
        ]

    @asynccontextmanager
    async def _unless_kept(self, aside: str) -> AsyncIterator[None]:
        try:
            yield
        except PreconditionFailed:
            if await self._repository.stat(aside) is None:
                raise

    async def _read(self, path: str, local: LocalFile) -> bytes:
        (data,) = await self._read_together([(path, local)])
        if isinstance(data, AgentError):
            raise data
        return data

    async def _read_there(self, path: str) -> Content:
        content = await self._repository.read(path)
        self._on_progress(len(content.data))
        return content

    async def _read_all_there(
        self, paths: Sequence[str], crossing: Crossing
    ) -> Sequence[Content | AgentError]:
        contents = await crossing.read_all(paths)
        self._on_progress(sum(len(each.data) for each in contents if isinstance(each, Content)))
        return contents

    async def _outgoing(self, path: str, local: LocalFile) -> AsyncGenerator[bytes, None]:
        """Home's version in pieces, the last of which is given only if all were that version."""
        source = await self._workers.run(_LIMIT, self._files.outgoing, path, local)

        def read() -> bytes:
            with local_errors(self._files.home / path):
                return source.next()

        try:
            while piece := await self._workers.run(_LIMIT, read):
                yield piece
                self._on_progress(len(piece))
        finally:
            source.close()

    @asynccontextmanager
    async def _arriving(self, path: str, source: str) -> AsyncIterator[tuple[Download, Incoming]]:
        """The repository's file `source`, written whole beside home's `path`."""
        arrival = await self._workers.run(_LIMIT, self._files.incoming, path)

        def write(chunk: bytes) -> None:
            with local_errors(self._files.home / path):
                arrival.write(chunk)

        try:
            async with self._repository.download(source) as download:
                async for chunk in self._told(download):
                    await self._workers.run(_LIMIT, write, chunk)
                yield download, arrival
        finally:
            arrival.discard()

    async def _told(self, download: Download) -> AsyncIterator[bytes]:
        async for chunk in download.chunks:
            yield chunk
            self._on_progress(len(chunk))

    async def _place(
        self, path: str, arrival: Incoming, expected: LocalFile | None, *, keep: bool
    ) -> LocalFile:
        limit = _limit(0 if expected is None else expected.size)
        until = time.monotonic() + limit
        place = self._files.place
        return await self._workers.run(limit, place, path, arrival, expected, keep, until)

    async def _read_together(
        self, files: Sequence[tuple[str, LocalFile]]
    ) -> Sequence[bytes | AgentError]:
        return await self._workers.run(_LIMIT, self._files.read_all, files)

    async def _create_together(
        self, files: Sequence[tuple[str, bytes]]
    ) -> Sequence[LocalFile | AgentError]:
        return await self._workers.run(_LIMIT, self._files.create_all, files)

    async def _exchange_together(
        self, files: Sequence[SmallArrival]
    ) -> Sequence[LocalFile | AgentError]:
        limit = _limit(sum(each.expected.size for each in files)) + _MORE * len(files)
        until = time.monotonic() + limit
        return await self._workers.run(limit, self._files.exchange_all, files, until)


async def _each_after(
    step: Callable[[], Awaitable[None]], pieces: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    async for piece in pieces:
        await step()
        yield piece


async def _write_all(
    files: Sequence[tuple[str, bytes]], tokens: Mapping[str, Token] | None, crossing: Crossing
) -> Sequence[Token | AgentError]:
    if tokens is None:
        return await crossing.create_all(files)
    return await crossing.replace_all([(path, data, tokens[path]) for path, data in files])


def _limit(size: int) -> float:
    """Seconds for hashing or copying a local file of `size` bytes in one go."""
    return _LIMIT + size / _SLOWEST


def _with_token(
    local: LocalFile | AgentError, token: Token
) -> tuple[LocalFile, Token] | AgentError:
    return local if isinstance(local, AgentError) else (local, token)


def _aside(path: str, token: Token) -> str:
    """Where a version is set aside; the same version in the same second has one place."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{SET_ASIDE}/{path}/{stamp}-{digest(token.encode())[:8]}"
