"""Messages to and from an SMB server have the bytes that smbprotocol gives them."""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol import Dialects
from smbprotocol.exceptions import SMBException
from smbprotocol.file_info import (
    FileAttributes,
    FileBasicInformation,
    FileDispositionInformation,
    FileIdFullDirectoryInformation,
    FileInformationClass,
    FileInternalInformation,
    FileRenameInformation,
)
from smbprotocol.header import Commands, Smb2Flags, SMB2HeaderResponse
from smbprotocol.open import (
    CreateDisposition,
    Open,
    SMB2CloseResponse,
    SMB2CreateResponse,
    SMB2QueryDirectoryRequest,
    SMB2QueryDirectoryResponse,
    SMB2QueryInfoRequest,
    SMB2QueryInfoResponse,
    SMB2ReadResponse,
    SMB2SetInfoRequest,
    SMB2WriteResponse,
)

from harmony_agent.repositories.smb import messages
from harmony_agent.repositories.smb.messages import Answer, Attributes, Listed, Opened, Request
from tests.unit.repositories.smb_session import SESSION, TREE, Protection, tree

_PLAIN = Protection(Dialects.SMB_2_1_0, is_signed=False)
NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/\\"), min_size=1, max_size=40
)
WORDS = st.integers(0, 2**32 - 1)
LONGS = st.integers(0, 2**63 - 1)
MICROS = st.integers(-(10**15), 10**17)  # microseconds since 1970 that datetime can hold
HANDLES = st.binary(min_size=16, max_size=16)
ATTRIBUTES = st.builds(Attributes, LONGS, MICROS, MICROS, st.sampled_from([0, 0x10, 0x80, 0x21]))


def theirs(*made: Any) -> bytes:
    """The packet that smbprotocol sends for messages of its own."""
    share = tree(_PLAIN)
    connection = share.session.connection
    connection.send_compound(list(made), SESSION, TREE, related=True)
    (sent,) = connection.transport.sent
    assert isinstance(sent, bytes)
    return sent


def ours(*requests: Request) -> bytes:
    """The packet that we send."""
    return b"".join(messages.packed(requests, 5, SESSION, TREE, sign=False))


def opening(path: str, **given: Any) -> Any:
    """How smbprotocol opens `path`."""
    made, _ = Open(tree(_PLAIN), path).create(
        2, given["access"], 0x80, given["share"], given["disposition"], given["options"], send=False
    )
    return made


def opened_file(handle: bytes) -> Any:
    """An open file of smbprotocol's."""
    found = Open(tree(_PLAIN), "x")
    found.file_id = handle
    return found


def set_info(change: Any, handle: bytes) -> Any:
    """How smbprotocol changes a file."""
    made = SMB2SetInfoRequest()
    made["info_type"] = change.INFO_TYPE
    made["file_info_class"] = change.INFO_CLASS
    made["file_id"] = handle
    made["buffer"] = change
    return made


@given(NAMES, WORDS, st.sampled_from([1, 2, 3]), st.sampled_from([0, 1, 0x40, 0x200040]))
@pytest.mark.parametrize("shared", [True, False])
def test_opening_has_the_bytes_of_smbprotocol(
    shared: bool, path: str, access: int, disposition: int, options: int
) -> None:
    """Whatever is opened, in whatever way."""
    kind = {1: CreateDisposition.FILE_OPEN, 2: CreateDisposition.FILE_CREATE}
    mode = kind.get(disposition, CreateDisposition.FILE_OPEN_IF)
    mine = messages.create(path, access=access, disposition=mode, options=options, shared=shared)
    share = 7 if shared else 0
    assert ours(mine) == theirs(
        opening(path, access=access, share=share, disposition=mode, options=options)
    )


@given(NAMES, HANDLES, st.binary(max_size=200), st.integers(1, 500_000))
def test_compounds_have_the_bytes_of_smbprotocol(
    path: str, handle: bytes, data: bytes, size: int
) -> None:
    """Several related messages, with padding, message ids and credits."""
    file = opened_file(handle)
    rename = FileRenameInformation()
    rename["replace_if_exists"] = True
    rename["file_name"] = path
    query = SMB2QueryInfoRequest()
    query["info_type"] = FileInternalInformation.INFO_TYPE
    query["file_info_class"] = FileInternalInformation.INFO_CLASS
    query["file_id"] = handle
    query["output_buffer_length"] = 8
    normal = FileBasicInformation()
    for time in ("creation_time", "last_access_time", "last_write_time", "change_time"):
        normal[time] = 0
    normal["file_attributes"] = FileAttributes.FILE_ATTRIBUTE_NORMAL
    gone = FileDispositionInformation()
    gone["delete_pending"] = True
    mine = ours(
        messages.write(data, handle),
        messages.read(size, handle),
        messages.rename(path, handle, over=True),
        messages.query_internal(handle),
        messages.make_normal(handle),
        messages.dispose(handle),
        messages.flush(handle),
        messages.close(handle),
    )
    assert mine == theirs(
        file.write(data, 0, send=False)[0],
        file.read(0, size, send=False)[0],
        set_info(rename, handle),
        query,
        set_info(normal, handle),
        set_info(gone, handle),
        file.flush(send=False)[0],
        file.close(True, send=False)[0],
    )


@given(NAMES, HANDLES, st.integers(1, 500_000))
def test_listing_has_the_bytes_of_smbprotocol(pattern: str, handle: bytes, room: int) -> None:
    """A request for the entries of a folder."""
    made = SMB2QueryDirectoryRequest()
    made["file_information_class"] = FileInformationClass.FILE_ID_FULL_DIRECTORY_INFORMATION
    made["file_id"] = handle
    made["output_buffer_length"] = room
    made["buffer"] = pattern.encode("utf-16-le")
    assert ours(messages.query_directory(pattern, room, handle)) == theirs(made)


def answered(command: int, body: Any) -> Answer:
    """What a server answers with the message `body` of smbprotocol's."""
    header = SMB2HeaderResponse()
    header["command"] = command
    header["flags"] = Smb2Flags.SMB2_FLAGS_SERVER_TO_REDIR
    header["message_id"] = 9
    header["credit_response"] = 3
    header["data"] = body.pack()
    (answer,) = messages.answers(header.pack())
    assert answer[:5] == (command, 0, 1, 9, 3)
    return answer


def moment(micros: int) -> datetime:
    """A time as smbprotocol has it."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def told(structure: Any, attributes: Attributes) -> Any:
    """`structure` filled with what is known of a file."""
    structure["creation_time"] = structure["last_access_time"] = moment(0)
    structure["last_write_time"] = moment(attributes.written)
    structure["change_time"] = moment(attributes.changed)
    structure["end_of_file"] = attributes.size
    structure["file_attributes"] = attributes.flags
    return structure


@given(ATTRIBUTES, HANDLES)
def test_what_opening_and_closing_tell_is_read(attributes: Attributes, handle: bytes) -> None:
    """Handle, size, times and flags are those that smbprotocol would find."""
    created = told(SMB2CreateResponse(), attributes)
    created["create_action"] = 1
    created["file_id"] = handle
    opened = messages.opened(answered(Commands.SMB2_CREATE, created))
    assert opened == Opened(handle, attributes)
    closed = told(SMB2CloseResponse(), attributes)
    assert messages.closed(answered(Commands.SMB2_CLOSE, closed)) == attributes


@given(st.binary(min_size=1, max_size=300), WORDS, LONGS)
def test_what_reading_writing_and_asking_give_is_read(data: bytes, count: int, number: int) -> None:
    """Content, the number of bytes taken, and a file's id."""
    read = SMB2ReadResponse()
    read["data_offset"] = 80
    read["buffer"] = data
    assert messages.read_data(answered(Commands.SMB2_READ, read)) == data
    wrote = SMB2WriteResponse()
    wrote["count"] = count
    assert messages.written(answered(Commands.SMB2_WRITE, wrote)) == count
    internal = FileInternalInformation()
    internal["index_number"] = number
    info = SMB2QueryInfoResponse()
    info["buffer"] = internal
    assert messages.internal_id(answered(Commands.SMB2_QUERY_INFO, info)) == number


@given(st.lists(st.tuples(NAMES, ATTRIBUTES, LONGS), min_size=1, max_size=5))
def test_listed_entries_are_read(entries: list[tuple[str, Attributes, int]]) -> None:
    """All of them, in their order, with the padding between them."""
    buffer = b""
    for left, (name, attributes, file_id) in zip(range(len(entries))[::-1], entries, strict=True):
        entry = told(FileIdFullDirectoryInformation(), attributes)
        entry["allocation_size"] = entry["ea_size"] = 0
        entry["file_id"] = file_id
        entry["file_name"] = name.encode("utf-16-le")
        padding = bytes(-len(entry) % 8)
        entry["next_entry_offset"] = (len(entry) + len(padding)) if left else 0
        buffer += entry.pack() + padding
    response = SMB2QueryDirectoryResponse()
    response["buffer"] = buffer
    found = messages.listed(answered(Commands.SMB2_QUERY_DIRECTORY, response))
    assert list(found) == [Listed(name, False, number, told) for name, told, number in entries]


@given(st.binary(max_size=300))
def test_nonsense_is_told_as_such(data: bytes) -> None:
    """Any bytes are read or raise SMBException: what a broken server ends is its connection."""
    header = b"\xfeSMB\x40" + bytes(11) + b"\x01" + bytes(3) + bytes(44)
    for packet in (data, header + data):
        with contextlib.suppress(SMBException):
            for answer in messages.answers(packet):
                for read in (
                    messages.opened,
                    messages.closed,
                    messages.read_data,
                    messages.written,
                    messages.internal_id,
                    lambda answer: list(messages.listed(answer)),
                ):
                    with contextlib.suppress(SMBException):
                        read(answer)
