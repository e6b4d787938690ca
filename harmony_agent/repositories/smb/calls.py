"""Requests to an SMB server from asyncio's loop, over a connection of smbprotocol's.

smbprotocol logs on and does what is rare, from its threads; it and this share the connection's
message ids and credits.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smbprotocol.exceptions import SMBConnectionClosed, SMBException
from smbprotocol.header import NtStatus

from harmony_agent.repositories.smb.messages import Answer, Request, answers, packed
from harmony_agent.repositories.smb.seal import Seal
from harmony_agent.repositories.smb.transport import LoopTransport

__all__ = ["Calls"]


@dataclass(slots=True)
class _Call:
    """A compound under way; its answers in the order of its requests."""

    answers: list[Answer | None]
    missing: int
    done: asyncio.Future[list[Answer]]


class Calls:
    """Compounds for one share, `tree` of smbprotocol's, whose connection moves its bytes by
    `transport`. For the loop's thread."""

    def __init__(self, tree: Any, transport: LoopTransport) -> None:
        self.connection = tree.session.connection
        self.largest_read: int = self.connection.max_read_size  # bytes
        self.largest_write: int = self.connection.max_write_size  # bytes
        self._session: int = tree.session.session_id
        self._tree: int = tree.tree_connect_id
        self._seal = Seal(tree)
        self._transport = transport
        self._under_way: dict[int, tuple[_Call, int]] = {}  # by message id
        transport.take, transport.lost = self._take, self._lost

    @property
    def is_alive(self) -> bool:
        """Whether the connection stands."""
        return self._transport.connected

    async def compound(self, requests: Sequence[Request]) -> list[Answer]:
        """Send related requests as one packet; their answers, whatever their status.

        Raises SMBConnectionClosed if the connection ends first, and SMBException if the server
        has not granted enough credits. Has no time limit: the caller ends the connection.
        """
        if not self._transport.connected:
            raise SMBConnectionClosed("the connection is gone")
        message_id = first = self._reserve(sum(request.charge for request in requests))
        count = len(requests)
        call = _Call([None] * count, count, asyncio.get_running_loop().create_future())
        for index, request in enumerate(requests):
            self._under_way[message_id] = call, index
            message_id += request.charge
        messages = packed(requests, first, self._session, self._tree, sign=self._seal.signs)
        self._transport.post(self._seal.packet(messages))
        return await call.done

    def _reserve(self, charge: int) -> int:
        window = self.connection.sequence_window
        with self.connection.sequence_lock:
            first: int = window["low"]
            if window["high"] - first < charge:
                raise SMBException("the server has not granted enough credits")
            window["low"] = first + charge
        return first

    def _take(self, packet: bytes) -> bytes | None:
        """Take the answers in a packet in; gives it back, decrypted, if they are not to us."""
        plain = self._seal.opened(packet)
        if int.from_bytes(plain[24:32], "little") not in self._under_way:
            return plain
        granted = 0
        for answer in answers(plain):
            self._seal.check(answer, packet)
            granted += answer.credits
            if answer.status != NtStatus.STATUS_PENDING:  # else it takes a while
                self._answered(answer)
        with self.connection.sequence_lock:
            self.connection.sequence_window["high"] += granted
        return None

    def _answered(self, answer: Answer) -> None:
        if answer.message_id not in self._under_way:
            raise SMBException("the server answers what nobody asked")
        call, index = self._under_way.pop(answer.message_id)
        call.answers[index] = answer
        call.missing -= 1
        if not call.missing and not call.done.done():
            call.done.set_result([answer for answer in call.answers if answer is not None])

    def _lost(self) -> None:
        calls = {id(call): call for call, _ in self._under_way.values()}
        self._under_way.clear()
        for call in calls.values():
            if not call.done.done():
                call.done.set_exception(SMBConnectionClosed("the connection has ended"))
