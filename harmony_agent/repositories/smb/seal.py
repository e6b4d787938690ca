"""Signs or encrypts what goes to an SMB server, and checks what comes; no I/O.

With the keys and algorithms that smbprotocol has agreed on with the server. smbprotocol sets up a
cipher anew for each message.
"""

import hashlib
import hmac
import itertools
import secrets
import struct
from collections.abc import Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.cmac import CMAC
from smbprotocol import Dialects
from smbprotocol.connection import Ciphers, SigningAlgorithms
from smbprotocol.exceptions import SMBException
from smbprotocol.header import Commands, NtStatus, Smb2Flags

from harmony_agent.repositories.smb.messages import Answer

__all__ = ["Seal"]

_TRANSFORM: Final = struct.Struct("<4s16s16sIHHQ")  # [MS-SMB2] 2.2.41
_ENCRYPTED: Final = 1  # its flags
_TAG: Final = 16  # bytes, of a signature as well
_SIGNATURE: Final = slice(48, 64)  # in a message's header
_FROM_SERVER: Final = 1  # in the nonce of AES-GMAC, [MS-SMB2] 2.2.1.2
_GCM: Final = (Ciphers.AES_128_GCM, Ciphers.AES_256_GCM)


class Seal:
    """For one session on one connection of smbprotocol's, whose login is done, and one share."""

    def __init__(self, tree: Any) -> None:
        session = tree.session
        connection = session.connection
        self._session_id: int = session.session_id
        self._is_encrypted = bool(session.encrypt_data or tree.encrypt_data)
        self.signs = not self._is_encrypted and bool(
            session.signing_required and session.signing_key
        )
        """Whether messages are signed."""
        self._key: bytes = session.signing_key or b""
        self._algorithm = _signing(connection)
        if self.signs and self._algorithm == SigningAlgorithms.AES_GMAC:
            self._gmac = AESGCM(self._key)
        if self._is_encrypted:
            is_new = connection.dialect >= Dialects.SMB_3_1_1
            cipher = connection.cipher_id if is_new else Ciphers.AES_128_CCM
            make = AESGCM if cipher in _GCM else AESCCM
            self._nonce = 12 if make is AESGCM else 11  # bytes
            # Never the same twice, and as unlikely one of smbprotocol's random ones as any other.
            self._nonces = itertools.count(secrets.randbits(8 * self._nonce))
            self._outwards, self._inwards = (
                make(session.encryption_key),
                make(session.decryption_key),
            )

    def packet(self, messages: Sequence[bytearray]) -> bytes:
        """What is sent for `messages`: signed, or encrypted, or as they are."""
        if self.signs:
            for message in messages:
                message[_SIGNATURE] = self._signature(message, from_server=False)
        plain = b"".join(messages)
        if not self._is_encrypted:
            return plain
        number = next(self._nonces) % (1 << 8 * self._nonce)
        nonce = number.to_bytes(self._nonce, "little")
        head = _TRANSFORM.pack(b"\xfdSMB", b"", nonce, len(plain), 0, _ENCRYPTED, self._session_id)
        sealed = self._outwards.encrypt(nonce, plain, head[20:])
        return head[:4] + sealed[-_TAG:] + head[20:] + sealed[:-_TAG]

    def opened(self, packet: bytes) -> bytes:
        """A packet of the server, decrypted if it is encrypted. Raises SMBException if it is not
        by who has our key."""
        if packet[:4] != b"\xfdSMB":
            return packet
        if not self._is_encrypted or len(packet) < _TRANSFORM.size:
            raise SMBException("the server sent an encrypted message that nobody expects")
        _, tag, nonce, _, _, flags, session = _TRANSFORM.unpack_from(packet)
        if flags != _ENCRYPTED or session != self._session_id:
            raise SMBException("the server sent a message of another session")
        head, sealed = packet[20 : _TRANSFORM.size], packet[_TRANSFORM.size :]
        try:
            return self._inwards.decrypt(nonce[: self._nonce], sealed + tag, head)
        except InvalidTag:
            raise SMBException("the server sent a message that can't be decrypted") from None

    def check(self, answer: Answer, packet: bytes) -> None:
        """Raise SMBException unless `answer`, which came in `packet`, is protected as agreed."""
        if self._is_encrypted:
            if packet[:4] != b"\xfdSMB":
                raise SMBException("the server sent a message that is not encrypted")
        elif self.signs and answer.status != NtStatus.STATUS_PENDING:  # never signed, 3.2.5.1.3
            is_signed = answer.flags & Smb2Flags.SMB2_FLAGS_SIGNED
            expected = self._signature(answer.whole, from_server=True)
            if not is_signed or not hmac.compare_digest(answer.whole[_SIGNATURE], expected):
                raise SMBException("the server sent a message with a wrong signature")

    def _signature(self, message: bytes | bytearray, *, from_server: bool) -> bytes:
        bare = b"".join((message[:48], bytes(_TAG), message[64:]))
        if self._algorithm == SigningAlgorithms.AES_GMAC:
            command = int.from_bytes(message[12:14], "little")
            kind = from_server * _FROM_SERVER | (command == Commands.SMB2_CANCEL) << 1
            return self._gmac.encrypt(message[24:32] + struct.pack("<I", kind), b"", bare)
        if self._algorithm == SigningAlgorithms.AES_CMAC:
            cmac = CMAC(algorithms.AES(self._key))
            cmac.update(bare)
            return cmac.finalize()
        return hmac.digest(self._key, bare, hashlib.sha256)[:_TAG]


def _signing(connection: Any) -> int:
    """The algorithm agreed on, [MS-SMB2] 3.1.4.1."""
    if connection.dialect < Dialects.SMB_3_0_0:
        return int(SigningAlgorithms.HMAC_SHA256)
    if connection.dialect < Dialects.SMB_3_1_1 or connection.signing_algorithm_id is None:
        return int(SigningAlgorithms.AES_CMAC)
    return int(connection.signing_algorithm_id)
