"""Both sides on a real file system with real change events."""

import asyncio
import time

from fixtures.harmony import install_home
from harmony_agent.lifecycle.health import Health, Level
from tests.integration.sync.disk import (
    Disk,
    configuration,
    eventually,
    make_disk,
    running,
    runtime,
)


async def test_a_second_node_gets_the_first_ones_configuration(disk: Disk) -> None:
    """The image's stock gives way to what the first node shared."""
    install_home(disk.home)
    disk.write("hosts/ACME AS2.xml", b"<Host alias='ACME AS2'/>")
    disk.write("data/cfg[1].p12", b"private key")
    async with configuration(disk) as sync:
        await sync.take_on()
    second = make_disk(disk.home.parent / "second")
    other = Disk(second.home, second.state, disk.store)
    install_home(other.home)
    (other.home / "conf/Options.xml").write_text("<Options other='1'/>")
    async with configuration(other) as sync:
        await sync.take_on()
    stored = disk.stored()
    assert {path: (other.home / path).read_bytes() for path in stored} == stored
    assert "data/cfg[1].p12" in stored
    assert (other.state / "replaced/conf/Options.xml").read_text() == "<Options other='1'/>"


async def test_changes_are_noticed_by_events_and_pushed_within_two_seconds(disk: Disk) -> None:
    """In-place writes, renames, new folders, deletes: far sooner than the minute's full look."""
    async with runtime(disk) as mirror, running(mirror):
        await eventually(lambda: mirror._side.is_pulled)
        await asyncio.sleep(0.3)
        began = time.monotonic()
        disk.write("AS2/data/1.id", b"1@acme")
        await eventually(lambda: "AS2/data/1.id" in disk.stored())
        assert time.monotonic() - began < 2
        began = time.monotonic()
        disk.write("AS2/mdn/received/archive/2026/1.mdn", b"processed")
        with (disk.home / "AS2/data/1.id").open("ab") as never_closed:
            never_closed.write(b" again")
            never_closed.flush()
            await eventually(lambda: disk.stored()["AS2/data/1.id"] == b"1@acme again")
        await eventually(lambda: "AS2/mdn/received/archive/2026/1.mdn" in disk.stored())
        assert time.monotonic() - began < 3
        began = time.monotonic()
        (disk.home / "AS2/mdn/received").rename(disk.home / "AS2/mdn/sent")
        (disk.home / "AS2/data/1.id").rename(disk.home / "AS2/data/2.id")
        wanted = {
            "AS2/data/2.id": b"1@acme again",
            "AS2/mdn/sent/archive/2026/1.mdn": b"processed",
        }
        await eventually(lambda: disk.stored() == wanted)
        assert time.monotonic() - began < 5
        disk.write("AS2/mdn/sent/archive/2026/2.mdn", b"in a folder that was moved")
        await eventually(lambda: "AS2/mdn/sent/archive/2026/2.mdn" in disk.stored())
        assert time.monotonic() - began < 8


async def test_what_is_no_regular_file_is_named_and_not_followed(disk: Disk) -> None:
    """A symbolic link at a certificate's place is held, and its target stays out."""
    health = Health()
    install_home(disk.home)
    secret = disk.home / "license_key.txt"
    secret.write_text("license.key=secret")
    (disk.home / "certs/link.cer").symlink_to(secret)
    (disk.home / "importedIDPs").symlink_to(disk.home / "certs")
    async with configuration(disk, health) as sync:
        await sync.take_on()
    assert not any("link" in path or "imported" in path for path in disk.stored())
    assert "symbolic link" in health.sections["configuration"]()["held"]["certs/link.cer"]
    assert health.conditions()[1].level is Level.TROUBLE


async def test_a_home_of_many_files_is_pulled_and_quiet_afterwards(disk: Disk) -> None:
    """2,000 files arrive complete, and an idle minute's work costs next to nothing."""
    for number in range(2000):
        path = disk.store / f"certs/{number % 20}/{number}.cer"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    (disk.store / ".harmony-agent").mkdir()
    (disk.store / ".harmony-agent/repo-id").write_text("an-id\n")
    async with configuration(disk) as sync:
        await sync.take_on()
        assert len(disk.stored()) == 2000
        assert {p: (disk.home / p).read_bytes() for p in disk.stored()} == disk.stored()
        async with running(sync):
            await asyncio.sleep(1.5)  # the first look and listing, and hints of our own writes
            before = time.process_time()
            await asyncio.sleep(1)
            assert time.process_time() - before < 0.02


async def test_residue_of_a_killed_agent_is_removed(disk: Disk) -> None:
    """Temporary files that an agent left where files of this side lie are gone after a start."""
    install_home(disk.home)
    disk.write("certs/deep/.harmony-agent-tmp-abc", b"half")
    async with configuration(disk) as sync:
        await sync.take_on()
    assert not (disk.home / "certs/deep/.harmony-agent-tmp-abc").exists()
    assert not any("tmp" in path for path in disk.stored())
