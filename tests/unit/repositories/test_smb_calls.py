"""Compounds to an SMB server get their answers, however they come, or an end."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol import Dialects
from smbprotocol.exceptions import SMBConnectionClosed, SMBException
from smbprotocol.header import NtStatus

from harmony_agent.repositories.smb import messages
from harmony_agent.repositories.smb.calls import Calls
from tests.unit.repositories.smb_session import Protection, Wireless, tree

PLAIN = Protection(Dialects.SMB_3_1_1, is_signed=False)
CHAIN = (messages.flush(), messages.read(100_000), messages.close())
IDS = (5, 6, 8)  # reading 100,000 bytes takes two credits


class Line:
    """Calls over a connection whose server a test plays."""

    def __init__(self, credits_granted: int = 1000) -> None:
        share = tree(PLAIN, credits_granted=credits_granted)
        self.window = share.session.connection.sequence_window
        self.wire: Wireless = share.session.connection.transport
        self.calls = Calls(share, self.wire)

    async def begin(self) -> asyncio.Task[list[messages.Answer]]:
        """Send CHAIN."""
        task = asyncio.create_task(self.calls.compound(CHAIN))
        await asyncio.sleep(0)
        return task


def answer(number: int, status: int = 0, granted: int = 1) -> bytes:
    """A message of the server's."""
    header = messages._HEADER.pack(
        b"\xfeSMB", 64, 1, status, 7, granted, 1, 0, number, 0, 0, 0, b""
    )
    return header + b"\4\0\0\0"


def compound(*parts: bytes) -> bytes:
    """Messages of the server's in one packet."""
    whole = b""
    for left, part in zip(range(len(parts))[::-1], parts, strict=True):
        padded = bytearray(part + bytes(-len(part) % 8)) if left else bytearray(part)
        padded[20:24] = (len(padded) if left else 0).to_bytes(4, "little")
        whole += padded
    return whole


@given(st.permutations(IDS), st.integers(0, 3), st.sets(st.sampled_from(IDS)))
def test_answers_are_put_in_order(order: list[int], cut: int, pending: set[int]) -> None:
    """In one packet or several, in any order, some of them announced before: the caller gets one
    answer for each request, in the order of the requests."""

    async def scenario() -> None:
        line = Line()
        task = await line.begin()
        for number in pending:
            assert line.wire.take(answer(number, NtStatus.STATUS_PENDING)) is None
        assert not task.done()
        for some in (order[:cut], order[cut:]):
            if some:
                assert line.wire.take(compound(*(answer(n, status=n) for n in some))) is None
        assert [(a.message_id, a.status) for a in await task] == [(n, n) for n in IDS]
        assert line.window == {"low": 9, "high": 1005 + len(pending) + len(IDS)}

    asyncio.run(scenario())


async def test_what_is_for_smbprotocol_goes_on_to_it() -> None:
    """An answer to a request of another's is given back as it is."""
    line = Line()
    task = await line.begin()
    foreign = answer(999)
    assert line.wire.take(foreign) == foreign
    assert line.window["high"] == 1005  # who takes it counts its credits
    task.cancel()


async def test_all_that_wait_are_told_when_the_connection_ends() -> None:
    """Also who has some of the answers; and nothing can be asked afterwards."""
    line = Line()
    first, second = await line.begin(), await line.begin()
    line.wire.take(answer(IDS[0]))
    line.wire.connected = False
    line.wire.lost()
    for task in (first, second):
        with pytest.raises(SMBConnectionClosed):
            await task
    assert not line.calls.is_alive
    with pytest.raises(SMBConnectionClosed):
        await line.calls.compound(CHAIN)


async def test_a_late_answer_to_who_went_away_is_no_harm() -> None:
    """It is taken in, and not mistaken for one to smbprotocol, which would end the connection."""
    line = Line()
    task = await line.begin()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert line.wire.take(compound(*map(answer, IDS))) is None


@pytest.mark.parametrize("second", [answer(999), b"nonsense" * 20, answer(IDS[0])])
async def test_an_answer_that_can_not_be_is_refused(second: Any) -> None:
    """To what nobody asked, twice the same, or none at all in the same packet."""
    line = Line()
    await line.begin()
    with pytest.raises(SMBException):
        line.wire.take(compound(answer(IDS[0]), second))


async def test_without_enough_credits_nothing_is_sent() -> None:
    """A server may end a connection that takes more than it was granted."""
    line = Line(credits_granted=3)
    with pytest.raises(SMBException, match="credits"):
        await line.calls.compound(CHAIN)
    assert line.wire.sent == []
    assert line.window == {"low": 5, "high": 8}
