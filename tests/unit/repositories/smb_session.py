"""A connection of smbprotocol's with a session and a share, as if the login were done."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from smbprotocol import Dialects
from smbprotocol.connection import Ciphers, Connection, SigningAlgorithms
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

__all__ = ["PROTECTIONS", "Protection", "Wireless", "tree"]

SESSION = 0x1122334455667788
TREE = 7


@dataclass(frozen=True)
class Protection:
    """What client and server agree on."""

    dialect: int
    cipher: int | None = None
    """Encrypts if it is given."""
    signing: int | None = None
    """Signs if nothing encrypts; None where the dialect leaves no choice."""
    is_signed: bool = True

    def __str__(self) -> str:
        what = "plain" if not (self.cipher or self.is_signed) else "sealed"
        return f"{self.dialect:x}-{what}-{self.cipher}-{self.signing}"


PROTECTIONS = [
    Protection(Dialects.SMB_2_1_0),
    Protection(Dialects.SMB_2_1_0, is_signed=False),
    Protection(Dialects.SMB_3_0_2),
    Protection(Dialects.SMB_3_0_2, cipher=Ciphers.AES_128_CCM),
    Protection(Dialects.SMB_3_1_1),
    Protection(Dialects.SMB_3_1_1, signing=SigningAlgorithms.AES_CMAC),
    Protection(Dialects.SMB_3_1_1, signing=SigningAlgorithms.AES_GMAC),
    Protection(Dialects.SMB_3_1_1, cipher=Ciphers.AES_128_CCM),
    Protection(Dialects.SMB_3_1_1, cipher=Ciphers.AES_128_GCM),
    Protection(Dialects.SMB_3_1_1, cipher=Ciphers.AES_256_CCM),
    Protection(Dialects.SMB_3_1_1, cipher=Ciphers.AES_256_GCM),
]


@dataclass
class Wireless:
    """Instead of a transport: keeps what is sent, calls `take` with what a test brings."""

    connected: bool = True
    sent: list[Any] = field(default_factory=list)
    take: Any = None
    lost: Any = None

    def send(self, packet: Any) -> None:
        """What smbprotocol sends."""
        self.sent.append(packet)

    def post(self, packet: bytes) -> None:
        """What the loop sends."""
        self.sent.append(packet)

    def close(self) -> None:
        """End it."""
        self.connected = False


def tree(protection: Protection, *, credits_granted: int = 1000) -> Any:
    """The share, with all that hangs on it; what is sent goes to a Wireless."""
    connection = Connection(uuid.UUID(int=1), "server")
    connection.transport = Wireless()
    connection.dialect = protection.dialect
    connection.cipher_id = protection.cipher
    connection.signing_algorithm_id = protection.signing
    connection.supports_multi_credit = True
    connection.max_read_size = connection.max_write_size = 8 * 1024 * 1024
    connection.sequence_window = {"low": 5, "high": 5 + credits_granted}
    session = Session(connection, "user", "password", require_encryption=False)
    session.session_id = SESSION
    session.encrypt_data = protection.cipher is not None
    session.signing_required = protection.is_signed and not session.encrypt_data
    size = 32 if protection.cipher in (Ciphers.AES_256_CCM, Ciphers.AES_256_GCM) else 16
    session.signing_key = bytes(range(16))
    session.encryption_key, session.decryption_key = b"e" * size, b"d" * size
    connection.session_table[SESSION] = session
    share = TreeConnect(session, r"\\server\share")
    share.tree_connect_id = TREE
    share.encrypt_data = False
    share.is_dfs_share = False
    session.tree_connect_table[TREE] = share
    return share
