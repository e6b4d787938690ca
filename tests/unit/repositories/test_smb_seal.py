"""What is signed or encrypted for an SMB server is what smbprotocol would send and accept."""

import pytest
from smbprotocol.connection import SMB2TransformHeader
from smbprotocol.exceptions import SMBException
from smbprotocol.header import Commands, NtStatus, Smb2Flags, SMB2HeaderResponse
from smbprotocol.open import Open

from harmony_agent.repositories.smb import messages
from harmony_agent.repositories.smb.messages import packed
from harmony_agent.repositories.smb.seal import Seal
from tests.unit.repositories.smb_session import PROTECTIONS, SESSION, TREE, Protection, tree

ENCRYPTED = [known for known in PROTECTIONS if known.cipher]
SIGNED = [known for known in PROTECTIONS if not known.cipher and known.is_signed]


def sent(protection: Protection) -> bytes:
    """A packet of ours, with two messages."""
    seal = Seal(tree(protection))
    requests = (messages.flush(b"h" * 16), messages.close(b"h" * 16))
    return seal.packet(packed(requests, 5, SESSION, TREE, sign=seal.signs))


def sent_by_smbprotocol(protection: Protection) -> bytes:
    """The same by smbprotocol, before it is encrypted."""
    share = tree(protection)
    share.session.encrypt_data = False
    file = Open(share, "x")
    file.file_id = b"h" * 16
    both = [file.flush(send=False)[0], file.close(True, send=False)[0]]
    share.session.connection.send_compound(both, SESSION, TREE, related=True)
    (packet,) = share.session.connection.transport.sent
    assert isinstance(packet, bytes)
    return packet


def answer_of(protection: Protection) -> bytes:
    """A packet of a server as smbprotocol would accept it, with one message."""
    share = tree(protection)
    connection = share.session.connection
    header = SMB2HeaderResponse()
    header["command"] = Commands.SMB2_FLUSH
    header["message_id"] = 5
    header["session_id"] = SESSION
    header["flags"] = Smb2Flags.SMB2_FLAGS_SERVER_TO_REDIR
    header["data"] = b"\4\0\0\0"
    if share.session.signing_required:
        header["flags"].set_flag(Smb2Flags.SMB2_FLAGS_SIGNED)
        header["signature"] = connection._generate_signature(
            header.pack(), share.session.signing_key, 5, True, Commands.SMB2_FLUSH
        )
    packet = header.pack()
    if not share.session.encrypt_data:
        return bytes(packet)
    session = share.session
    session.encryption_key = session.decryption_key  # it speaks as the server does
    return bytes(connection._encrypt(packet, session).pack())


def taken(protection: Protection, packet: bytes) -> list[int]:
    """The message ids of what a packet of the server brings, each checked."""
    seal = Seal(tree(protection))
    found = list(messages.answers(seal.opened(packet)))
    for answer in found:
        seal.check(answer, packet)
    return [answer.message_id for answer in found]


@pytest.mark.parametrize("protection", PROTECTIONS, ids=str)
def test_a_packet_is_the_one_that_smbprotocol_sends(protection: Protection) -> None:
    """With the same signatures; an encrypted one holds the same messages."""
    packet = sent(protection)
    if protection.cipher:
        share = tree(protection)
        share.session.decryption_key = share.session.encryption_key  # it hears as the server does
        header = SMB2TransformHeader()
        header.unpack(packet)
        packet = share.session.connection._decrypt(header)
    assert packet == sent_by_smbprotocol(protection)


@pytest.mark.parametrize("protection", ENCRYPTED, ids=str)
def test_no_two_packets_are_encrypted_alike(protection: Protection) -> None:
    """A nonce that is used twice would give the key away."""
    seal = Seal(tree(protection))
    packets = {seal.packet([bytearray(64)]) for _ in range(100)}
    assert len({packet[20:36] for packet in packets}) == 100


@pytest.mark.parametrize("protection", PROTECTIONS, ids=str)
def test_what_the_server_sends_is_understood(protection: Protection) -> None:
    """Plain, signed and encrypted."""
    assert taken(protection, answer_of(protection)) == [5]


@pytest.mark.parametrize("protection", ENCRYPTED + SIGNED, ids=str)
@pytest.mark.parametrize("place", [30, -1])
def test_what_somebody_changed_on_its_way_is_refused(place: int, protection: Protection) -> None:
    """One bit is enough."""
    packet = bytearray(answer_of(protection))
    packet[place] ^= 1
    with pytest.raises(SMBException):
        taken(protection, bytes(packet))


@pytest.mark.parametrize("protection", ENCRYPTED + SIGNED, ids=str)
def test_what_lacks_the_protection_agreed_on_is_refused(protection: Protection) -> None:
    """A plain answer is none of the server's where it signs or encrypts."""
    plain = Protection(protection.dialect, is_signed=False)
    with pytest.raises(SMBException):
        taken(protection, answer_of(plain))


def test_what_nobody_can_have_encrypted_is_refused() -> None:
    """An encrypted packet where no encryption was agreed on."""
    with pytest.raises(SMBException, match="nobody expects"):
        taken(SIGNED[0], answer_of(ENCRYPTED[0]))


@pytest.mark.parametrize("protection", SIGNED, ids=str)
def test_that_an_answer_takes_a_while_needs_no_signature(protection: Protection) -> None:
    """Servers do not sign that."""
    header = bytearray(answer_of(Protection(protection.dialect, is_signed=False)))
    header[8:12] = int(NtStatus.STATUS_PENDING).to_bytes(4, "little")
    assert taken(protection, bytes(header)) == [5]
