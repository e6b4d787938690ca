"""Files of an SMB share, with as few packets as the protocol allows.

smbclient asks for everything about a file with seven messages, and for each step anew. Here what
belongs together goes in one packet (a compound, [MS-SMB2] 3.2.4.1.4), and a file that was written
is renamed by the handle it was written with.
"""

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

# Not public, but the one way to send compounds that follow a DFS link as smbclient does.
from smbclient._io import SMBFileTransaction, SMBRawIO, query_info, set_info
from smbprotocol.exceptions import SMBException
from smbprotocol.file_info import (
    FileAttributes,
    FileInternalInformation,
    FileRenameInformation,
)
from smbprotocol.open import CreateOptions
from smbprotocol.open import FilePipePrinterAccessMask as Access

from harmony_agent.repositories.interface import Token

__all__ = [
    "READ",
    "SMALL",
    "WRITE",
    "Found",
    "Reading",
    "Session",
    "Writing",
    "give_back",
    "look",
    "token_of",
    "version",
]

Session = dict[str, Any]
"""What every call of smbclient needs to know of the connection."""

SMALL: Final = 256 * 1024
"""Bytes that are read or written together with opening the file."""
READ: Final = Access.FILE_READ_DATA | Access.FILE_READ_ATTRIBUTES
"""The access that reading a file takes."""
WRITE: Final = (
    Access.FILE_WRITE_DATA
    | Access.FILE_APPEND_DATA
    | Access.FILE_READ_ATTRIBUTES
    | Access.FILE_WRITE_ATTRIBUTES
    | Access.DELETE
)
"""The access that writing a file and renaming it takes."""

_SHARED: Final = "rwd"  # let others read, write and replace the file meanwhile
_PIECE: Final = 512 * 1024  # bytes of one message; smbprotocol holds on to dozens of them
_SYNC_EVERY: Final = 64 * 1024 * 1024  # bytes; flushing gigabytes at once could take minutes
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FILE: Final = CreateOptions.FILE_NON_DIRECTORY_FILE


@dataclass(frozen=True, slots=True)
class Found:
    """What stands under a name: its size in bytes, and which version it is."""

    size: int
    token: Token
    is_folder: bool


def token_of(file_id: int, size: int, written: int, changed: int) -> Token:
    """The token of a file of `size` bytes; times in microseconds since 1970."""
    return Token(f"{file_id}-{size}-{written}-{changed}")


def version(file_id: int, size: int, written: datetime, changed: datetime) -> Token:
    """The token of a file. Microseconds: smbprotocol knows no finer times."""
    times = [(time - _EPOCH) // timedelta(microseconds=1) for time in (written, changed)]
    return token_of(file_id, size, *times)


def _opened(file_id: int, fd: Any) -> Token:
    """The token of an open file as its last answer told."""
    return version(file_id, fd.end_of_file, fd.last_write_time, fd.change_time)


def look(unc: str, session: Session) -> Found:
    """What stands at `unc`; one packet. Raises SMBOSError, also if there is nothing."""
    raw = _unopened(unc, "rb", Access.FILE_READ_ATTRIBUTES, session, options=0)
    compound = SMBFileTransaction(raw)
    raw.open(transaction=compound)
    query_info(compound, FileInternalInformation)
    compound += raw.fd.close(True, send=False)
    compound.commit()
    token = _opened(_id(compound.results[1]), raw.fd)
    is_folder = raw.fd.file_attributes & FileAttributes.FILE_ATTRIBUTE_DIRECTORY
    return Found(raw.fd.end_of_file, token, bool(is_folder))


class Reading:
    """A file that is read in pieces. All methods raise SMBOSError or SMBException."""

    def __init__(self, unc: str, session: Session) -> None:
        self._raw = _unopened(unc, "rb", READ, session, options=_FILE)
        compound = SMBFileTransaction(self._raw)
        self._raw.open(transaction=compound)
        query_info(compound, FileInternalInformation)
        compound.commit()
        self._id = _id(compound.results[1])
        self.size: int = self._raw.fd.end_of_file
        self.token = _opened(self._id, self._raw.fd)

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        piece = bytearray(min(size, _PIECE))
        return bytes(memoryview(piece)[: self._raw.readinto(piece)])

    def end(self) -> Token:
        """Close it; the token of what it is now."""
        self._raw.fd.close(get_attributes=True)
        return _opened(self._id, self._raw.fd)

    def close(self) -> None:
        """Close it if it is not; never raises."""
        give_back(self._raw)


class Writing:
    """A new file that is written under one name and renamed by its open handle.

    Nothing happens before a second piece comes or `finish` is called: a small file is opened,
    written and flushed by one packet, renamed and closed by a second. They are never one, since
    the server would rename what it could not write. All methods raise SMBOSError or SMBException;
    `write` and `finish` may be tried again if the folder was missing.
    """

    def __init__(self, unc: str, session: Session) -> None:
        self._unc = unc
        self._raw = _unopened(unc, "xb", WRITE, session, options=_FILE)
        self._pending = b""
        self._unsynced = 0

    @property
    def connection(self) -> Any:
        """The connection that holds the handle."""
        return self._raw.fd.connection

    def write(self, data: bytes) -> None:
        """Append."""
        if self._pending:
            self._send(self._pending)
        self._pending = data
        if self._unsynced >= _SYNC_EVERY:
            self._raw.fd.flush()
            self._unsynced = 0

    def finish(self) -> None:
        """Have all of it on the server's disk."""
        # Larger ones go piece by piece, as credits allow.
        if len(self._pending) > min(SMALL, self.connection.max_write_size):
            self._send(self._pending)
            self._pending = b""
        compound = SMBFileTransaction(self._raw)
        self._raw.open(transaction=compound)
        place = self._raw.tell()
        compound += self._raw.fd.write(self._pending, place, send=False)
        compound += self._raw.fd.flush(send=False)
        compound.commit()
        written = compound.results[-2]
        if written != len(self._pending):
            raise SMBException(f"the server wrote {written} of {len(self._pending)} bytes")

    def rename(self, name: str, *, over: bool) -> None:
        """Give it another name in its folder; with `over` whatever has that name."""
        compound = SMBFileTransaction(self._raw)
        self._add_rename(compound, name, over)
        compound.commit()

    def end(self) -> Token:
        """Close it; its token."""
        return self._end(SMBFileTransaction(self._raw))

    def rename_and_end(self, name: str) -> Token:
        """Give it a name that must be free, and close it in any case; its token."""
        compound = SMBFileTransaction(self._raw)
        self._add_rename(compound, name, False)
        return self._end(compound)

    def abandon(self) -> str:
        """Close it, never to raise; where it lies now unless it was renamed."""
        give_back(self._raw)
        return self._unc

    def _send(self, data: bytes) -> None:
        self._raw.open()
        rest = memoryview(data)
        while rest:
            rest = rest[self._raw.write(rest[:_PIECE]) :]
        self._unsynced += len(data)

    def _add_rename(self, compound: Any, name: str, over: bool) -> None:
        folder = self._raw.fd.file_name.rpartition("\\")[0]
        change = FileRenameInformation()
        change["replace_if_exists"] = over
        change["file_name"] = f"{folder}\\{name}" if folder else name
        set_info(compound, change)

    def _end(self, compound: Any) -> Token:
        query_info(compound, FileInternalInformation)
        compound += self._raw.fd.close(True, send=False)
        compound.commit()
        return _opened(_id(compound.results[-2]), self._raw.fd)


def give_back(raw: Any) -> None:
    """Close a handle of smbclient if it is open; never raises."""
    with contextlib.suppress(SMBException, OSError):
        raw.close()
    # If the connection is gone, so is the handle; smbclient would warn that it was left open.
    raw.fd._connected = False


def _unopened(unc: str, mode: str, access: int, session: Session, *, options: int) -> Any:
    return SMBRawIO(
        unc,
        mode=mode,
        share_access=_SHARED,
        desired_access=access,
        create_options=options,
        **session,
    )


def _id(internal: Any) -> int:
    number: int = internal["index_number"].get_value()
    return number
