"""Small files by the quick way with every protection, and by the other way where it must be."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from smbprotocol.exceptions import SMBConnectionClosed

from fixtures.servers.samba import Samba
from fixtures.wire import Wire
from harmony_agent.core.errors import PreconditionFailed
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.interface import Repository, Token
from harmony_agent.repositories.smb.blocking import BlockingSmb
from harmony_agent.repositories.smb.connection import SmbConnection
from harmony_agent.repositories.smb.small import give_back, lock
from tests.integration.repositories.backends import smb_settings
from tests.integration.repositories.test_failures import opened

pytestmark = pytest.mark.server

_BLOCKING = ("_scan", "_stat", "_open", "_stage", "_delete", "_make_folder")


@pytest.fixture(
    params=[("SMB2_10", "off"), ("SMB3_02", "required"), ("SMB3_11", "off")],
    ids="-".join,
)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Samba]:
    """One that signs or encrypts in another way than that of the other tests."""
    newest, encryption = request.param
    with Samba(tmp_path / "samba", newest=newest, encryption=encryption) as found:
        yield found


async def everything(repository: Repository) -> None:
    """Do all that can be done with small files; fails the test if one thing does not hold."""
    await repository.make_folder("empty/er")
    tokens = await asyncio.gather(
        *(repository.create(f"new/folder/{number}", b"%d" % number * 100) for number in range(40))
    )
    entries = {entry.path: entry for entry in await repository.list()}
    assert {path: entry.token for path, entry in entries.items()} == {
        f"new/folder/{number}": token for number, token in enumerate(tokens)
    }
    path, other = "new/folder/7", Token("another")
    assert await repository.stat(path) == entries[path]
    assert (await repository.read(path)).token == tokens[7]
    for refused in (
        repository.create(path, b"x"),
        repository.replace(path, b"x", other),
        repository.replace("no/such", b"x", other),
        repository.delete(path, other),
    ):
        with pytest.raises(PreconditionFailed):
            await refused
    assert (await repository.read(path)).data == b"7" * 100
    new = await repository.replace(path, b"newer", tokens[7])
    assert (await repository.read(path)).data == b"newer"
    await repository.delete(path, new)
    await repository.delete(path, new)
    assert await repository.stat(path) is None
    assert await repository.stat("no/such") is None
    assert await repository.stat("new/folder/8/below-a-file") is None
    assert await repository.stat("empty/er") is None
    assert len(await repository.list("new")) == 39


def drafts(samba: Samba, folder: str) -> list[str]:
    """Files on the server in the repository `folder` that are no file of it."""
    return [path.name for path in (samba.files / folder).rglob(".*") if path.is_file()]


async def test_small_files_take_no_thread(server: Samba, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the server signs or encrypts, and how; nothing is left behind."""

    def blocking(*_: object) -> None:
        raise AssertionError("this was to be done without a thread")

    for operation in _BLOCKING:
        monkeypatch.setattr(BlockingSmb, operation, blocking)
    settings = smb_settings(server, encrypt=False)  # as the server wants it
    async with opened(connect(settings, "quick", ca_bundle=None)) as repository:
        await everything(repository)
    assert drafts(server, "quick") == []


async def test_smbprotocol_can_do_all_of_it(samba: Samba, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same holds where the quick way is not to be had, as with old servers."""
    monkeypatch.setattr(SmbConnection, "calls", lambda _: None)
    async with opened(connect(smb_settings(samba), "slow", ca_bundle=None)) as repository:
        await everything(repository)
    assert drafts(samba, "slow") == []


async def test_a_share_of_dfs_is_left_to_smbprotocol(
    samba: Samba, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows how to follow links to other servers, the quick way does not."""
    found: list[object] = []
    calls = SmbConnection.calls

    def noted(connection: SmbConnection) -> object:
        found.append(calls(connection))
        return found[-1]

    monkeypatch.setattr(SmbConnection, "calls", noted)
    settings = smb_settings(samba, share="linked")
    async with opened(connect(settings, ".", ca_bundle=None)) as repository:
        token = await repository.create("in-the-root-of-dfs", b"x")
        assert (await repository.read("in-the-root-of-dfs")).token == token
    assert found == [None, None]


async def test_what_outlives_the_repository_opens_no_connection(samba: Samba) -> None:
    """A closed repository stays closed: nobody would close that connection."""
    connection = SmbConnection(smb_settings(samba)).in_loop()
    await asyncio.to_thread(connection.arguments)
    await asyncio.to_thread(connection.disconnect)
    with pytest.raises(SMBConnectionClosed):
        await asyncio.to_thread(connection.arguments)


async def test_who_gives_up_waiting_leaves_no_half_file(samba: Samba) -> None:
    """A write whose caller was canceled is carried to its end: the file is whole, and no draft is
    left."""
    async with opened(connect(smb_settings(samba), "canceled", ca_bundle=None)) as repository:
        for turn in range(20):
            task = asyncio.create_task(repository.create(f"file-{turn}", b"x" * 2048))
            for _ in range(turn):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(60):
            while drafts(samba, "canceled"):
                await asyncio.sleep(0.01)
        for entry in await repository.list():
            assert entry.size == 2048


async def test_a_lock_held_by_a_lost_connection_is_freed_by_the_next(samba: Samba) -> None:
    """The server does not know that a connection is cut behind a firewall, and keeps what it holds
    for minutes: the session that takes its place ends it."""
    with Wire(samba.port) as wire:
        settings = replace(smb_settings(samba), port=wire.port)
        connection = SmbConnection(settings).in_loop()
        calls = await asyncio.to_thread(connection.calls)
        assert calls is not None
        handle = await lock(calls, "held")
        assert handle is not None
        wire.fall_silent(after=1)
        closing = asyncio.create_task(give_back(calls, handle))
        async with asyncio.timeout(60):
            while not wire.is_silent:
                await asyncio.sleep(0.01)
        connection.give_up()
        await closing
        wire.replace()  # the old connection stays open on the server's side
        calls = await asyncio.to_thread(connection.calls)
        assert calls is not None
        assert await lock(calls, "held") is not None
        await asyncio.to_thread(connection.disconnect)
