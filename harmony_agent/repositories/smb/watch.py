"""Tells when something directly in a folder of an SMB share has changed (CHANGE_NOTIFY).

The server answers a request only once there is something to tell. It is left there between calls,
and the server collects what happens while there is none: nothing is missed, nothing is asked for.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Final

from smbclient._io import SMBDirectoryIO  # as smb/files.py
from smbprotocol.change_notify import (
    CompletionFilter,
    FileNotifyInformation,
    SMB2ChangeNotifyRequest,
    SMB2ChangeNotifyResponse,
)
from smbprotocol.exceptions import NotifyEnumDir, SMBConnectionClosed
from smbprotocol.header import NtStatus
from smbprotocol.open import DirectoryAccessMask

from harmony_agent.core.durable import is_temporary
from harmony_agent.repositories.smb.files import Session, give_back

__all__ = ["SmbWatch"]

_CHANGES: Final = (
    CompletionFilter.FILE_NOTIFY_CHANGE_FILE_NAME | CompletionFilter.FILE_NOTIFY_CHANGE_LAST_WRITE
)
_BUFFER: Final = 16 * 1024  # bytes of names; what does not fit comes as "something"


class _Bell(threading.Event):
    """Takes the place of the event by which smbprotocol tells of an answer, and tells asyncio too:
    no thread has to wait for it."""

    def __init__(self, request: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.rung = asyncio.Event()
        self._request = request
        self._loop = loop
        self._is_pending = False
        with request.response_event_lock:
            before, request.response_event = request.response_event, self
            if before.is_set():
                self.set()

    def set(self) -> None:
        """An answer has come, or the connection has ended."""
        response = self._request.response
        if (
            not self._is_pending
            and response is not None
            and response["status"].get_value() == NtStatus.STATUS_PENDING
        ):
            self._is_pending = True  # the first answer: that it takes a while
            return
        super().set()
        with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits any more
            self._loop.call_soon_threadsafe(self.rung.set)


class SmbWatch:
    """Watches one folder. Blocking, for any thread; raises what smbprotocol raises."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: Any = None  # open
        self._request: Any = None  # what the server has yet to answer
        self._bell: _Bell | None = None
        self._is_closed = False

    def arm(self, unc: str, session: Session, loop: asyncio.AbstractEventLoop) -> asyncio.Event:
        """Have the server tell of changes in `unc` since it was armed first; the event is set in
        `loop` when it has, or when it can't any more. Sends nothing if it is armed."""
        with self._lock:
            if self._is_closed:
                raise SMBConnectionClosed("the repository is closed")
            if self._folder is not None and not self._folder.fd.connection.transport.connected:
                self._drop()
            if self._folder is None:
                self._folder = _open(unc, session)
            if self._bell is None:
                self._request = _ask(self._folder.fd)
                self._bell = _Bell(self._request, loop)
            return self._bell.rung

    def take(self) -> bool:
        """Take the answer in; whether files other than the agent's temporary ones have changed."""
        with self._lock:
            if self._bell is None or not self._bell.is_set():
                return False  # somebody else took it
            request, self._request, self._bell = self._request, None, None
            try:
                answer = self._folder.fd.connection.receive(request)
            except NotifyEnumDir:
                return True  # more than fits
            except BaseException:
                self._drop()
                raise
            return any(not is_temporary(name) for name in _names(answer["data"].get_value()))

    def close(self) -> None:
        """Give the folder back for good; never raises."""
        with self._lock:
            self._is_closed = True
            self._drop()

    def _drop(self) -> None:
        if self._folder is not None:
            give_back(self._folder)
        self._folder = self._request = self._bell = None


def _open(unc: str, session: Session) -> Any:
    folder = SMBDirectoryIO(
        unc,
        mode="r",
        share_access="rwd",
        desired_access=DirectoryAccessMask.FILE_LIST_DIRECTORY,
        **session,
    )
    folder.open()
    return folder


def _ask(fd: Any) -> Any:
    message = SMB2ChangeNotifyRequest()
    message["file_id"] = fd.file_id
    message["completion_filter"] = _CHANGES
    message["output_buffer_length"] = _BUFFER
    tree = fd.tree_connect
    return fd.connection.send(message, tree.session.session_id, tree.tree_connect_id)


def _names(answer: bytes) -> Iterator[str]:
    response = SMB2ChangeNotifyResponse()
    response.unpack(answer)
    rest: bytes = response["buffer"].get_value()
    while rest:
        entry = FileNotifyInformation()
        entry.unpack(rest)
        yield entry["file_name"].get_value()
        step = entry["next_entry_offset"].get_value()
        rest = rest[step:] if step else b""
