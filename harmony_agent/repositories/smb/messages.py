"""The few SMB 2 messages that small files take, to and from bytes; no I/O.

smbprotocol builds each message of some twenty objects, which costs more than all else about a file
of some KiB. Layouts are those of [MS-SMB2] 2.2 and [MS-FSCC] 2.4; the sections stand beside them.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from smbprotocol.exceptions import SMBException
from smbprotocol.file_info import FileAttributes
from smbprotocol.header import Commands, Smb2Flags
from smbprotocol.open import CloseFlags, CreateDisposition, ImpersonationLevel, ShareAccess
from smbprotocol.reparse_point import ReparseTags

__all__ = [
    "ANY_FILE",
    "HEADER",
    "Answer",
    "Attributes",
    "Listed",
    "Opened",
    "Request",
    "answers",
    "close",
    "closed",
    "create",
    "dispose",
    "flush",
    "internal_id",
    "listed",
    "make_normal",
    "opened",
    "packed",
    "query_directory",
    "query_internal",
    "read",
    "read_data",
    "rename",
    "write",
    "written",
]

HEADER: Final = 64
"""Bytes of a message's header."""
ANY_FILE: Final = b"\xff" * 16
"""Instead of a file id: the file that the first message of the compound opens."""

_HEADER: Final = struct.Struct("<4sHHIHHIIQIIQ16s")  # 2.2.1.2
_CREATE: Final = struct.Struct("<HBBIQQIIIIIHHII")  # 2.2.13
_CREATED: Final = struct.Struct("<HBBIQQQQQQII16sII")  # 2.2.14
_CLOSE: Final = struct.Struct("<HHI16s")  # 2.2.15
_CLOSED: Final = struct.Struct("<HHIQQQQQQI")  # 2.2.16
_FLUSH: Final = struct.Struct("<HHI16s")  # 2.2.17
_READ: Final = struct.Struct("<HBBIQ16sIIIHHB")  # 2.2.19, with one byte of an empty buffer
_READ_DATA: Final = struct.Struct("<HBBIII")  # 2.2.20
_WRITE: Final = struct.Struct("<HHIQ16sIIHHI")  # 2.2.21
_WRITTEN: Final = struct.Struct("<HHIIHH")  # 2.2.22
_QUERY_DIRECTORY: Final = struct.Struct("<HBBI16sHHI")  # 2.2.33
_QUERY_INFO: Final = struct.Struct("<HBBIHHIII16s")  # 2.2.37
_OUTPUT: Final = struct.Struct("<HHI")  # 2.2.34 and 2.2.38: where the answer's buffer lies
_SET_INFO: Final = struct.Struct("<HBBIHHI16s")  # 2.2.39
_BASICS: Final = struct.Struct("<QQQQI4x")  # [MS-FSCC] 2.4.7
_RENAME: Final = struct.Struct("<?7sQI")  # [MS-FSCC] 2.4.42.2
_ENTRY: Final = struct.Struct("<IIQQQQQQIIIIQ")  # [MS-FSCC] 2.4.18

_SERVER_TO_CLIENT: Final = int(Smb2Flags.SMB2_FLAGS_SERVER_TO_REDIR)
_RELATED: Final = int(Smb2Flags.SMB2_FLAGS_RELATED_OPERATIONS)
_SIGNED: Final = int(Smb2Flags.SMB2_FLAGS_SIGNED)
_FILE_INFORMATION: Final = 1  # a type of information
_BASIC: Final = 4  # classes of information: FileBasicInformation
_INTERNAL: Final = 6  # FileInternalInformation
_RENAMING: Final = 10  # FileRenameInformation
_DISPOSITION: Final = 13  # FileDispositionInformation
_ID_FULL_DIRECTORY: Final = 38  # FileIdFullDirectoryInformation
_NORMAL: Final = int(FileAttributes.FILE_ATTRIBUTE_NORMAL)
_REPARSE_POINT: Final = int(FileAttributes.FILE_ATTRIBUTE_REPARSE_POINT)
_SHARED: Final = int(
    ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE
)
_CREDIT: Final = 64 * 1024  # bytes, 3.1.5.2
_EPOCH: Final = 11_644_473_600_000_000  # microseconds from 1601 to 1970


class Request(NamedTuple):
    """A message without its header: its command, and how many credits it takes."""

    command: int
    body: bytes
    charge: int = 1


class Answer(NamedTuple):
    """A server's message; `whole` is all of it, its header included."""

    command: int
    status: int
    flags: int
    message_id: int
    credits: int
    whole: bytes


@dataclass(frozen=True, slots=True)
class Attributes:
    """A file's size in bytes, when it was written and changed in microseconds since 1970, and its
    FILE_ATTRIBUTE flags."""

    size: int
    written: int
    changed: int
    flags: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that was opened: what further messages call it, and what it was then."""

    handle: bytes
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of a folder; of a symbolic link nothing else is of use."""

    name: str
    is_link: bool
    file_id: int
    attributes: Attributes


def packed(
    requests: Sequence[Request], first_id: int, session: int, tree: int, *, sign: bool
) -> list[bytearray]:
    """A compound of related messages, each with its header and padded as the next one needs it;
    signatures are left empty. Message ids run from `first_id`, by charge."""
    messages = []
    message_id, flags = first_id, _SIGNED if sign else 0
    for number, (command, body, charge) in enumerate(requests, 1):
        size = HEADER + len(body)
        is_last = number == len(requests)
        padding = b"" if is_last else bytes(-size % 8)
        whole = bytearray(
            _HEADER.pack(
                b"\xfeSMB",
                HEADER,
                charge,
                0,
                command,
                charge,
                flags,
                0 if is_last else size + len(padding),
                message_id,
                0,
                tree,
                session,
                b"",
            )
        )
        whole += body
        whole += padding
        messages.append(whole)
        message_id += charge
        flags |= _RELATED
    return messages


def answers(packet: bytes) -> Iterator[Answer]:
    """The messages of a packet. Raises SMBException if it is none of a server."""
    start = 0
    while True:
        header = _unpacked(_HEADER, packet, start)
        protocol, size, _, status, command, given, flags, following, number = header[:9]
        end = start + following if following else len(packet)
        if (
            protocol != b"\xfeSMB"
            or size != HEADER
            or not flags & _SERVER_TO_CLIENT
            or end > len(packet)
            or end - start < HEADER
        ):
            raise _malformed()
        whole = packet if end - start == len(packet) else packet[start:end]
        yield Answer(command, status, flags, number, given, whole)
        if not following:
            return
        start = end


def create(
    path: str,
    *,
    access: int,
    disposition: CreateDisposition,
    options: int,
    shared: bool = True,
) -> Request:
    """Open `path` (below the share, with backslashes), `shared` with everybody or alone."""
    name = path.encode("utf-16-le", "surrogatepass")
    body = _CREATE.pack(
        57,
        0,
        0,
        int(ImpersonationLevel.Impersonation),
        0,
        0,
        access,
        _NORMAL,
        _SHARED if shared else 0,
        int(disposition),
        options,
        HEADER + _CREATE.size,
        len(name),
        0,
        0,
    )
    return Request(int(Commands.SMB2_CREATE), body + (name or b"\0\0"))


def close(handle: bytes = ANY_FILE) -> Request:
    """Close a file and tell what it is then."""
    flags = int(CloseFlags.SMB2_CLOSE_FLAG_POSTQUERY_ATTRIB)
    return Request(int(Commands.SMB2_CLOSE), _CLOSE.pack(24, flags, 0, handle))


def flush(handle: bytes = ANY_FILE) -> Request:
    """Have a file on the server's disk."""
    return Request(int(Commands.SMB2_FLUSH), _FLUSH.pack(24, 0, 0, handle))


def read(size: int, handle: bytes = ANY_FILE) -> Request:
    """A file's first bytes, at most `size`."""
    body = _READ.pack(49, 0x50, 0, size, 0, handle, 0, 0, 0, 0, 0, 0)
    return Request(int(Commands.SMB2_READ), body, _charge(size))


def write(data: bytes, handle: bytes = ANY_FILE) -> Request:
    """Write a file's first bytes."""
    head = _WRITE.pack(49, HEADER + _WRITE.size, len(data), 0, handle, 0, 0, 0, 0, 0)
    return Request(int(Commands.SMB2_WRITE), head + data, _charge(len(data)))


def query_internal(handle: bytes = ANY_FILE) -> Request:
    """Ask for a file's id."""
    body = _QUERY_INFO.pack(41, _FILE_INFORMATION, _INTERNAL, 8, 0, 0, 0, 0, 0, handle)
    return Request(int(Commands.SMB2_QUERY_INFO), body)


def rename(path: str, handle: bytes, *, over: bool) -> Request:
    """Give an open file another path below the share; `over` whatever is there, or only if nothing
    is."""
    name = path.encode("utf-16-le", "surrogatepass")
    return _set_info(_RENAMING, _RENAME.pack(over, b"", 0, len(name)) + name, handle)


def make_normal(handle: bytes = ANY_FILE) -> Request:
    """Take a file's attributes away, for one that is read-only can't be deleted."""
    return _set_info(_BASIC, _BASICS.pack(0, 0, 0, 0, _NORMAL), handle)


def dispose(handle: bytes = ANY_FILE) -> Request:
    """Have a file deleted when it is closed."""
    return _set_info(_DISPOSITION, b"\1", handle)


def query_directory(pattern: str, room: int, handle: bytes = ANY_FILE) -> Request:
    """The next entries of a folder, as many as go into `room` bytes."""
    name = pattern.encode("utf-16-le", "surrogatepass")
    offset = HEADER + _QUERY_DIRECTORY.size
    body = _QUERY_DIRECTORY.pack(33, _ID_FULL_DIRECTORY, 0, 0, handle, offset, len(name), room)
    return Request(int(Commands.SMB2_QUERY_DIRECTORY), body + name, _charge(room))


def opened(answer: Answer) -> Opened:
    """What a `create` gave."""
    fields = _unpacked(_CREATED, answer.whole, HEADER)
    written, changed, _, size, flags, _, handle = fields[6:13]
    return Opened(handle, Attributes(size, _micros(written), _micros(changed), flags))


def closed(answer: Answer) -> Attributes:
    """What a `close` told."""
    fields = _unpacked(_CLOSED, answer.whole, HEADER)
    written, changed, _, size, flags = fields[5:10]
    return Attributes(size, _micros(written), _micros(changed), flags)


def read_data(answer: Answer) -> bytes:
    """What a `read` gave."""
    _, offset, _, size, _, _ = _unpacked(_READ_DATA, answer.whole, HEADER)
    return _part(answer.whole, offset, size)


def written(answer: Answer) -> int:
    """How many bytes a `write` took."""
    count: int = _unpacked(_WRITTEN, answer.whole, HEADER)[2]
    return count


def internal_id(answer: Answer) -> int:
    """The id of a file."""
    number: int = _unpacked(struct.Struct("<Q"), _output(answer), 0)[0]
    return number


def listed(answer: Answer) -> Iterator[Listed]:
    """The entries of a folder, `.` and `..` among them."""
    buffer = _output(answer)
    start = 0
    while True:
        fields = _unpacked(_ENTRY, buffer, start)
        following, _, _, _, written, changed, size, _, flags, length, tag, _, file_id = fields
        name = _name(_part(buffer, start + _ENTRY.size, length))
        attributes = Attributes(size, _micros(written), _micros(changed), flags)
        is_link = bool(flags & _REPARSE_POINT) and tag == ReparseTags.IO_REPARSE_TAG_SYMLINK
        yield Listed(name, is_link, file_id, attributes)
        if not following:
            return
        start += following


def _set_info(kind: int, change: bytes, handle: bytes) -> Request:
    offset = HEADER + _SET_INFO.size
    body = _SET_INFO.pack(33, _FILE_INFORMATION, kind, len(change), offset, 0, 0, handle)
    return Request(int(Commands.SMB2_SET_INFO), body + change)


def _output(answer: Answer) -> bytes:
    _, offset, size = _unpacked(_OUTPUT, answer.whole, HEADER)
    return _part(answer.whole, offset, size)


def _name(data: bytes) -> str:
    try:
        return data.decode("utf-16-le", "surrogatepass")
    except UnicodeDecodeError:
        raise _malformed() from None


def _part(data: bytes, start: int, size: int) -> bytes:
    part = data[start : start + size]
    if len(part) != size:
        raise _malformed()
    return part


def _unpacked(layout: struct.Struct, data: bytes, start: int) -> tuple[Any, ...]:
    try:
        return layout.unpack_from(data, start)
    except struct.error:
        raise _malformed() from None


def _malformed() -> SMBException:
    return SMBException("the server's answer is malformed")


def _micros(filetime: int) -> int:
    """Microseconds since 1970 of what counts tenths of them since 1601; smbprotocol knows no finer
    times, and tokens are compared."""
    return filetime // 10 - _EPOCH


def _charge(size: int) -> int:
    return max(0, size - 1) // _CREDIT + 1
