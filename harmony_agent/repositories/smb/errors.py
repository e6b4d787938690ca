"""What SMB's status codes mean for the agent."""

import errno
from typing import Final

from smbprotocol.exceptions import (
    SMBAuthenticationError,
    SMBConnectionClosed,
    SMBException,
    SMBOSError,
    SMBResponseException,
)
from smbprotocol.header import NtStatus

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    Refused,
    Unavailable,
    Unsupported,
)
from harmony_agent.repositories.causes import connection_error, unwrapped

__all__ = ["MISSING", "SESSION_GONE", "is_missing", "status_of", "translate"]

# learn.microsoft.com, [MS-ERREF] 2.3.1; not all have a name in smbprotocol.
_LOGON: Final = {
    0xC000006A: "wrong password",
    0xC000006D: "wrong user name or password",
    0xC000006E: "the account is restricted",
    0xC000006F: "the account may not log on at this hour",
    0xC0000071: "the password has expired",
    0xC0000072: "the account is disabled",
    0xC0000193: "the account has expired",
    0xC0000224: "the password must be changed",
    0xC0000234: "the account is locked",
}
MISSING: Final = frozenset({0xC000000F, 0xC0000034, 0xC000003A})
"""There is no such file or folder."""
_FULL: Final = frozenset({0xC000007F, 0xC0000044})
_BAD_NAME: Final = frozenset({0xC0000033, 0xC0000106})
_OTHER_KIND: Final = frozenset({0xC0000103, 0xC00000BA})
"""A file where a folder has to be, or a folder where a file has to be."""
SESSION_GONE: Final = frozenset({0xC0000203, 0xC00000C9, 0xC000035C, 0xC000020C})
"""The connection stands but the session on it does not: only a new connection helps."""


def status_of(error: BaseException) -> int | None:
    """The server's status code behind an error, if it has one.

    Of a share that is missing smbclient reports only its later failure to find it by DFS, which
    looks like a missing file.
    """
    codes = [
        int(item.ntstatus if isinstance(item, SMBOSError) else item.status)
        for item in unwrapped(error)
        if isinstance(item, (SMBOSError, SMBResponseException))
    ]
    if NtStatus.STATUS_BAD_NETWORK_NAME in codes:
        return int(NtStatus.STATUS_BAD_NETWORK_NAME)
    return codes[0] if codes else None


def is_missing(error: BaseException) -> bool:
    """Whether the server said that there is no such file or folder, and nothing else: a missing
    share must not look like an empty one."""
    return status_of(error) in MISSING


def translate(error: Exception, what: str, *, server: str, share: str) -> AgentError:
    """The agent's error for one of smbprotocol's; `what` is the operation and the place."""
    status = status_of(error)
    if status is not None:
        return _answered(status, what, server, share)
    if isinstance(error, SMBConnectionClosed) or error.args[:1] == (errno.EBADF,):
        return OutcomeUnknown(f"{what}: {server} closed the connection")
    if found := connection_error(error, what, server):
        return found
    if isinstance(error, SMBAuthenticationError):
        return Refused(f"{what}: {server} offers no way to log on that userName can use: {error}")
    if isinstance(error, ValueError):  # how smbprotocol reports a failed connect
        return Unavailable(f"{what}: {server} can't be reached")
    if isinstance(error, SMBException) and "encryption is required" in str(error):
        return Refused(
            f"{what}: {server} offers no SMB 3 encryption; have it offer that, or set encrypt to "
            "off where the network is trusted"
        )
    if isinstance(error, SMBException) and "timeout" in str(error):
        return OutcomeUnknown(f"{what}: {server} did not answer in time")
    if isinstance(error, SMBException):
        return OutcomeUnknown(f"{what}: {error}")
    return OutcomeUnknown(f"{what}: {type(error).__name__}: {error}")


def _answered(status: int, what: str, server: str, share: str) -> AgentError:
    if status in _LOGON:
        return Refused(
            f"{what}: {server} refuses the login: {_LOGON[status]}; check userName and userPassword"
        )
    if status == NtStatus.STATUS_BAD_NETWORK_NAME:
        return Refused(f"{what}: {server} has no share {share}; correct sharePath")
    if status == NtStatus.STATUS_ACCESS_DENIED:
        return Refused(f"{what}: permission denied; give the account the right to change files")
    if status == NtStatus.STATUS_SHARING_VIOLATION:
        return Unavailable(f"{what}: the file is in use")
    if status in _FULL:
        return Unavailable(f"{what}: the share is full; make room there")
    if status in _OTHER_KIND:
        return Unsupported(
            f"{what}: {server} has a file where a folder has to be, or a folder where a file has "
            "to be; rename it there"
        )
    if status in _BAD_NAME:
        return Unsupported(f"{what}: {server} can't hold this name")
    if status in SESSION_GONE:
        return OutcomeUnknown(f"{what}: {server} ended the session")
    if status in MISSING:
        return Absent(f"{what}: there is no such file")
    return OutcomeUnknown(f"{what}: {server} answered status {status:#010x}")
