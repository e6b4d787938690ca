"""Small files and folders of an SMB share, from asyncio's loop and with few packets.

Paths are below the share, with backslashes. All raise SMBOSError with the server's status, also
where it only says that there is a symbolic link to follow, and SMBException.
"""

from collections.abc import Sequence
from typing import Final

from smbprotocol.exceptions import SMBException, SMBOSError
from smbprotocol.file_info import FileAttributes
from smbprotocol.header import NtStatus
from smbprotocol.open import CreateDisposition, CreateOptions, DirectoryAccessMask
from smbprotocol.open import FilePipePrinterAccessMask as Access

from harmony_agent.repositories.interface import Token
from harmony_agent.repositories.smb import messages
from harmony_agent.repositories.smb.calls import Calls
from harmony_agent.repositories.smb.errors import MISSING
from harmony_agent.repositories.smb.files import READ, SMALL, WRITE, token_of
from harmony_agent.repositories.smb.messages import Answer, Attributes, Listed, Request

__all__ = [
    "Draft",
    "find",
    "give_back",
    "is_folder",
    "lock",
    "look",
    "make_folder",
    "read_small",
    "remove",
    "scan",
    "token_of_entry",
]

_FILE: Final = int(CreateOptions.FILE_NON_DIRECTORY_FILE)
_FOLDER: Final = int(CreateOptions.FILE_DIRECTORY_FILE)
_ITSELF: Final = int(CreateOptions.FILE_OPEN_REPARSE_POINT)  # not what a link leads to
_ATTRIBUTES: Final = int(DirectoryAccessMask.FILE_READ_ATTRIBUTES)
_LIST: Final = _ATTRIBUTES | int(DirectoryAccessMask.FILE_LIST_DIRECTORY)
_REMOVE: Final = int(Access.DELETE | Access.FILE_WRITE_ATTRIBUTES)
_ROOM: Final = 64 * 1024  # bytes of entries in one answer, some 500
_NO_FOLDER: Final = MISSING | {NtStatus.STATUS_NOT_A_DIRECTORY}
_END: Final = frozenset({NtStatus.STATUS_NO_MORE_FILES, NtStatus.STATUS_NO_SUCH_FILE})


async def read_small(calls: Calls, path: str) -> tuple[bytes, Token] | None:
    """A whole file and its token, in one packet each way; None if it is not that simple: it is
    large, empty, or was being written."""
    requests = (
        _opening(path, READ, _FILE),
        messages.query_internal(),
        messages.read(min(SMALL, calls.largest_read)),
        messages.close(),
    )
    answers = await calls.compound(requests)
    if answers[2].status == NtStatus.STATUS_END_OF_FILE:
        return None
    _require(answers, path)
    before, after = messages.opened(answers[0]).attributes, messages.closed(answers[3])
    data = messages.read_data(answers[2])
    if before != after or len(data) != after.size:
        return None
    return data, _token(messages.internal_id(answers[1]), after)


async def look(calls: Calls, path: str) -> Token | None:
    """The token of what stands at `path`, in one packet each way; None if that is no file."""
    requests = (_opening(path, _ATTRIBUTES, 0), messages.query_internal(), messages.close())
    answers = await calls.compound(requests)
    if answers[0].status in MISSING:
        return None
    _require(answers, path)
    found = messages.closed(answers[2])
    return None if _is_folder(found) else _token(messages.internal_id(answers[1]), found)


async def find(calls: Calls, folder: str, name: str) -> list[Listed] | None:
    """The entry of `folder` that the server finds as `name`, in one packet each way; it may be
    called so in another case. None if it is a link."""
    requests = (
        _opening(folder, _LIST, _FOLDER),
        messages.query_directory(name, _ROOM),
        messages.close(),
    )
    answers = await calls.compound(requests)
    if answers[0].status in _NO_FOLDER or answers[1].status in _END:
        return []
    _require(answers, folder)
    found = list(messages.listed(answers[1]))
    return None if any(entry.is_link for entry in found) else found


async def scan(calls: Calls, folder: str) -> list[Listed]:
    """What lies in `folder`; nothing if there is no such folder."""
    found: list[Listed] = []
    opening = _opening(folder, _LIST, _FOLDER)
    opened, answer = await calls.compound((opening, messages.query_directory("*", _ROOM)))
    if opened.status in MISSING:
        return found
    _require((opened,), folder)
    handle = messages.opened(opened).handle
    try:
        while answer.status not in _END:
            _require((answer,), folder)
            found += (entry for entry in messages.listed(answer) if entry.name not in (".", ".."))
            (answer,) = await calls.compound((messages.query_directory("*", _ROOM, handle),))
    finally:
        await give_back(calls, handle)
    return found


async def make_folder(calls: Calls, path: str) -> None:
    """Make a folder and its parents, unless it is there. A file of that name is an error of its
    own (STATUS_NOT_A_DIRECTORY): to take it for a folder would be to try for ever."""
    making = _opening(path, _ATTRIBUTES, _FOLDER, CreateDisposition.FILE_OPEN_IF)
    answers = await calls.compound((making, messages.close()))
    parent = path.rpartition("\\")[0]
    if answers[0].status in MISSING and parent:
        await make_folder(calls, parent)
        answers = await calls.compound((making, messages.close()))
    _require(answers, path)


async def remove(calls: Calls, path: str) -> None:
    """Delete a file."""
    requests = (
        _opening(path, _REMOVE, _FILE | _ITSELF),
        messages.make_normal(),
        messages.dispose(),
        messages.close(),
    )
    _require(await calls.compound(requests), path)


async def lock(calls: Calls, path: str) -> bytes | None:
    """Open a file for nobody else to open it, and make it if need be: its handle, to be given
    back; None if somebody else has it."""
    opening = messages.create(
        path,
        access=WRITE,
        disposition=CreateDisposition.FILE_OPEN_IF,
        options=_FILE,
        shared=False,
    )
    answers = await calls.compound((opening,))
    if answers[0].status == NtStatus.STATUS_SHARING_VIOLATION:
        return None
    _require(answers, path)
    return messages.opened(answers[0]).handle


async def give_back(calls: Calls, handle: bytes) -> None:
    """Close a handle; never raises: if the connection is gone, so is the handle."""
    try:
        await calls.compound((messages.close(handle),))
    except SMBException:
        return


class Draft:
    """A new small file that is written under one name and renamed by its open handle.

    It is written and flushed by one packet, renamed and closed by a second. They are never one,
    since the server would rename what it could not write.
    """

    def __init__(self, calls: Calls, path: str) -> None:
        self._calls = calls
        self._path = path
        self._handle = b""  # empty: not open

    async def write(self, data: bytes) -> bool:
        """Make it, and have all of it on the server's disk; False if its folder is missing."""
        creating = _opening(self._path, WRITE, _FILE, CreateDisposition.FILE_CREATE)
        answers = await self._calls.compound((creating, messages.write(data), messages.flush()))
        if answers[0].status in MISSING:
            return False
        _require(answers[:1], self._path)
        self._handle = messages.opened(answers[0]).handle
        _require(answers, self._path)
        if (taken := messages.written(answers[1])) != len(data):
            raise SMBException(f"the server wrote {taken} of {len(data)} bytes")
        return True

    async def rename_over(self, path: str) -> None:
        """Give it another name, whatever has that name."""
        _require(await self._calls.compound((self._renaming(path, over=True),)), path)

    async def rename_and_end(self, path: str) -> Token:
        """Give it a name that must be free, and close it in any case; its token."""
        return await self._end(self._renaming(path, over=False))

    async def end(self) -> Token:
        """Close it; its token."""
        return await self._end()

    async def abandon(self) -> None:
        """Close it if it is open; never raises."""
        if self._handle:
            await give_back(self._calls, self._handle)

    def _renaming(self, path: str, *, over: bool) -> Request:
        return messages.rename(path, self._handle, over=over)

    async def _end(self, *before: Request) -> Token:
        handle, self._handle = self._handle, b""
        ending = (messages.query_internal(handle), messages.close(handle))
        answers = await self._calls.compound((*before, *ending))
        _require(answers, self._path)
        return _token(messages.internal_id(answers[-2]), messages.closed(answers[-1]))


def token_of_entry(entry: Listed) -> Token:
    """The token of a listed file."""
    return _token(entry.file_id, entry.attributes)


def is_folder(entry: Listed) -> bool:
    """Whether it is a folder."""
    return _is_folder(entry.attributes)


def _is_folder(attributes: Attributes) -> bool:
    return bool(attributes.flags & FileAttributes.FILE_ATTRIBUTE_DIRECTORY)


def _opening(
    path: str,
    access: int,
    options: int,
    disposition: CreateDisposition = CreateDisposition.FILE_OPEN,
) -> Request:
    return messages.create(path, access=access, disposition=disposition, options=options)


def _token(file_id: int, attributes: Attributes) -> Token:
    return token_of(file_id, attributes.size, attributes.written, attributes.changed)


def _require(answers: Sequence[Answer], path: str) -> None:
    for answer in answers:
        if answer.status != NtStatus.STATUS_SUCCESS:
            raise SMBOSError(answer.status, path)
