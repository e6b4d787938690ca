"""What every connector promises, against real servers."""

import asyncio
import secrets

import pytest

from harmony_agent.core.errors import Absent, PreconditionFailed, Unsupported
from harmony_agent.repositories.interface import Content, Repository
from harmony_agent.repositories.layout import (
    prepare_configuration,
    prepare_runtime,
    repository_id,
)
from harmony_agent.repositories.proof import prove
from tests.integration.repositories.backends import Backend

pytestmark = pytest.mark.server

NAMES = (
    "hosts/Local Listener.xml",
    "hosts/cfg[1].xml",
    "hosts/cfg1.xml",
    "hosts/Ünïcödé ✓ 名前.xml",
    "hosts/100% + & # = ~ '.xml",
    "hosts/deep/er/and/deeper.xml",
    "conf/empty",
)


async def test_a_created_file_can_be_read_and_has_the_token_that_creating_gave(
    repository: Repository,
) -> None:
    """create, read, stat and list agree on content, size and token."""
    token = await repository.create("hosts/a.xml", b"<Host/>")
    content = await repository.read("hosts/a.xml")
    entry = await repository.stat("hosts/a.xml")
    assert (content.data, content.token) == (b"<Host/>", token)
    assert entry is not None
    assert (entry.path, entry.size, entry.token) == ("hosts/a.xml", 7, token)
    assert await repository.list() == [entry]


async def test_creating_an_existing_file_is_refused_and_leaves_it(repository: Repository) -> None:
    """create never overwrites."""
    await repository.create("conf/a", b"first")
    with pytest.raises(PreconditionFailed):
        await repository.create("conf/a", b"second")
    assert (await repository.read("conf/a")).data == b"first"


async def test_an_empty_file_overwrites_nothing(repository: Repository) -> None:
    """Creating one where a file is is refused as well, and leaves that file whole."""
    await repository.create("conf/a", b"first")
    with pytest.raises(PreconditionFailed):
        await repository.create("conf/a", b"")
    assert (await repository.read("conf/a")).data == b"first"


async def test_of_files_in_one_go_each_has_its_own_fate(repository: Repository) -> None:
    """Names that are taken, missing or impossible are told where they belong; the others are made
    and read with the tokens that a listing shows."""
    await repository.create("conf/taken", b"theirs")
    names = ["certs/a", "conf/taken", "certs/../b", *NAMES]
    made = await repository.create_all([(name, name.encode()) for name in names])
    assert [type(each) for each in made[:3]] == [str, PreconditionFailed, Unsupported]
    listed = {entry.path: entry.token for entry in await repository.list()}
    found = await repository.read_all([*names, "conf/missing"])
    assert isinstance(found[2], Unsupported)
    assert isinstance(found[-1], Absent)
    for number, name in enumerate(names):
        content = found[number]
        if isinstance(content, Content):
            assert content.data == (b"theirs" if name == "conf/taken" else name.encode())
            assert content.token == listed[name]
            assert made[number] == content.token or name == "conf/taken"
    assert len(listed) == len(names) - 1


async def test_of_files_replaced_in_one_go_each_has_its_own_fate(repository: Repository) -> None:
    """One that another was faster with, one that is gone, with its folder, and an impossible name
    are told where they belong; the others are there with the tokens that a listing shows."""
    paths = ["certs/a", "certs/b", "certs/changed", "away/gone", "hosts/x y.xml"]
    old = {path: await repository.create(path, b"old") for path in paths}
    await repository.replace("certs/changed", b"theirs", old["certs/changed"])
    await repository.delete("away/gone", old["away/gone"])
    files = [(path, path.encode(), token) for path, token in old.items()]
    outcomes = await repository.replace_all([*files, ("certs/../c", b"", old["certs/a"])])
    kinds = [type(outcome) for outcome in outcomes]
    refused = [PreconditionFailed] * 2
    assert kinds == [str, str, *refused, str, Unsupported]
    listed = {entry.path: entry.token for entry in await repository.list()}
    for number, path in ((0, "certs/a"), (1, "certs/b"), (4, "hosts/x y.xml")):
        content = await repository.read(path)
        assert content.data == path.encode()
        assert content.token == listed[path] == outcomes[number]
    assert (await repository.read("certs/changed")).data == b"theirs"
    assert len(listed) == 4


async def test_what_one_connector_writes_another_sees_at_once(backend: Backend) -> None:
    """Nothing is remembered of an earlier listing or read: not what is there, not how long it is,
    not that it is gone."""
    writer, reader = backend.connect(), backend.connect()
    await asyncio.gather(writer.open(), reader.open())
    try:
        token = await writer.create("conf/a", b"1")
        assert [entry.size for entry in await reader.list()] == [1]
        assert (await reader.read("conf/a")).data == b"1"
        token = await writer.replace("conf/a", b"22", token)
        assert [entry.size for entry in await reader.list()] == [2]
        assert (await reader.read("conf/a")).data == b"22"
        await writer.delete("conf/a", token)
        assert await reader.list() == []
        assert await reader.stat("conf/a") is None
    finally:
        await asyncio.gather(writer.close(), reader.close())


async def test_many_read_one_file_at_once(backend: Backend) -> None:
    """Two nodes with sixteen readers each: nobody shuts others out, also while it is replaced."""
    nodes = [backend.connect() for _ in range(2)]
    await asyncio.gather(*(node.open() for node in nodes))
    try:
        token = await nodes[0].create("conf/a", b"old")
        replacing = asyncio.create_task(nodes[0].replace("conf/a", b"new", token))
        contents = await asyncio.gather(*(n.read("conf/a") for n in nodes for _ in range(16)))
        await replacing
        assert {content.data for content in contents} <= {b"old", b"new"}
    finally:
        await asyncio.gather(*(node.close() for node in nodes))


async def test_only_the_present_version_can_be_replaced(repository: Repository) -> None:
    """replace with a stale token is refused; with the present one it gives a new token."""
    first = await repository.create("conf/a", b"1")
    second = await repository.replace("conf/a", b"2", first)
    assert second != first
    with pytest.raises(PreconditionFailed):
        await repository.replace("conf/a", b"3", first)
    content = await repository.read("conf/a")
    assert (content.data, content.token) == (b"2", second)


async def test_a_missing_file_can_not_be_replaced(repository: Repository) -> None:
    """replace never creates."""
    token = await repository.create("conf/a", b"1")
    await repository.delete("conf/a", token)
    with pytest.raises(PreconditionFailed):
        await repository.replace("conf/a", b"2", token)
    assert await repository.stat("conf/a") is None


async def test_only_the_present_version_can_be_deleted(repository: Repository) -> None:
    """delete with a stale token is refused; deleting what is gone is no error."""
    first = await repository.create("conf/a", b"1")
    second = await repository.replace("conf/a", b"2", first)
    with pytest.raises(PreconditionFailed):
        await repository.delete("conf/a", first)
    assert (await repository.read("conf/a")).data == b"2"
    await repository.delete("conf/a", second)
    assert await repository.stat("conf/a") is None
    await repository.delete("conf/a", second)


async def test_deleting_takes_exactly_the_file_that_is_named(repository: Repository) -> None:
    """Brackets are no pattern: `cfg[1].xml` goes, `cfg1.xml` stays."""
    token = await repository.create("hosts/cfg[1].xml", b"brackets")
    await repository.create("hosts/cfg1.xml", b"plain")
    await repository.delete("hosts/cfg[1].xml", token)
    assert [entry.path for entry in await repository.list("hosts")] == ["hosts/cfg1.xml"]


async def test_a_file_is_found_in_its_own_case_only(repository: Repository) -> None:
    """Also where the server opens it by other letters: else a file that was renamed from one case
    to the other would seem to have two names."""
    await repository.create("hosts/ACME.xml", b"<Host/>")
    assert await repository.stat("hosts/Acme.xml") is None
    assert await repository.stat("hosts/ACME.xml") is not None


async def test_reading_a_missing_file_says_absent(repository: Repository) -> None:
    """read raises Absent; stat answers None; a missing folder has no files."""
    with pytest.raises(Absent):
        await repository.read("conf/none")
    assert await repository.stat("conf/none") is None
    assert await repository.list("nowhere/at/all") == []


async def test_unusual_names_come_back_as_they_were(repository: Repository) -> None:
    """Blanks, brackets, percent signs, letters of many alphabets and depth survive a round trip."""
    written = {name: name.encode() for name in NAMES}
    for name, data in written.items():
        await repository.create(name, data)
    listed = await repository.list()
    assert sorted(entry.path for entry in listed) == sorted(NAMES)
    for entry in listed:
        content = await repository.read(entry.path)
        assert content.data == written[entry.path]
        assert content.token == entry.token, "a listing gives the same token as reading"


@pytest.mark.parametrize("size", [0, 1, 3 * 1024 * 1024 + 17])
async def test_content_of_any_size_is_whole(repository: Repository, size: int) -> None:
    """Empty files and files of several chunks are written, replaced and read whole."""
    data = secrets.token_bytes(size)
    token = await repository.create("data/blob", data)
    assert (await repository.read("data/blob")).data == data
    other = secrets.token_bytes(size + 1)
    await repository.replace("data/blob", other, token)
    assert (await repository.read("data/blob")).data == other


@pytest.mark.parametrize("name", ["/a", "a//b", "../a", "a/./b", "a/", "", "a\x00b", "a\nb"])
async def test_names_that_no_backend_holds_are_refused(repository: Repository, name: str) -> None:
    """An unclean name never reaches the server."""
    with pytest.raises(Unsupported):
        await repository.create(name, b"")


async def test_folders_are_made_and_are_no_files(repository: Repository) -> None:
    """make_folder is idempotent, makes parents, and its placeholders are not listed."""
    for _ in range(2):
        await repository.make_folder("hosts/deep/er")
    await repository.make_folder("")
    assert await repository.list() == []
    await repository.create("hosts/deep/er/a", b"x")
    assert [entry.path for entry in await repository.list()] == ["hosts/deep/er/a"]


async def test_a_listing_of_one_folder_leaves_out_its_namesakes(repository: Repository) -> None:
    """`hosts` does not list `hosts2`."""
    await repository.create("hosts/a", b"")
    await repository.create("hosts2/a", b"")
    assert [entry.path for entry in await repository.list("hosts")] == ["hosts/a"]


async def test_several_nodes_prepare_at_the_same_instant(backend: Backend) -> None:
    """Four nodes make the folders and the repository's id together: all succeed with one id."""
    nodes = [backend.connect() for _ in range(4)]

    async def start(node: Repository) -> str | None:
        await node.open()
        await prepare_configuration(node)
        return await repository_id(node, create=True)

    try:
        ids = await asyncio.gather(*(start(node) for node in nodes))
    finally:
        await asyncio.gather(*(node.close() for node in nodes))
    assert len(set(ids)) == 1
    assert ids[0]


async def test_of_eight_racing_creators_exactly_one_wins(backend: Backend) -> None:
    """The content that stands is the winner's, and all others were told."""
    nodes = [backend.connect() for _ in range(8)]
    await asyncio.gather(*(node.open() for node in nodes))

    async def attempt(number: int) -> int | None:
        try:
            await nodes[number].create("race", f"node {number}".encode())
        except PreconditionFailed:
            return None
        return number

    try:
        winners = [n for n in await asyncio.gather(*map(attempt, range(8))) if n is not None]
        assert len(winners) == 1
        assert (await nodes[0].read("race")).data == f"node {winners[0]}".encode()
    finally:
        await asyncio.gather(*(node.close() for node in nodes))


async def test_no_accepted_increment_is_lost(backend: Backend) -> None:
    """Eight writers count up by compare-and-swap: the sum is what was accepted."""
    nodes = [backend.connect() for _ in range(8)]
    await asyncio.gather(*(node.open() for node in nodes))
    await nodes[0].create("counter", b"0")

    async def count(node: Repository) -> int:
        accepted = 0
        while accepted < 3:
            content = await node.read("counter")
            try:
                await node.replace("counter", b"%d" % (int(content.data) + 1), content.token)
            except PreconditionFailed:
                continue
            accepted += 1
        return accepted

    try:
        accepted = sum(await asyncio.gather(*(count(node) for node in nodes)))
        assert int((await nodes[0].read("counter")).data) == accepted == 24
    finally:
        await asyncio.gather(*(node.close() for node in nodes))


async def test_a_long_listing_is_complete(repository: Repository) -> None:
    """1,100 files need more than one page of any store; the parallel writes fit one connector."""
    slots = asyncio.Semaphore(16)

    async def write(number: int) -> None:
        async with slots:
            await repository.create(f"AS2/mdn/{number % 30}/{number}", b"x")

    await asyncio.gather(*map(write, range(1100)))
    listed = await repository.list()
    assert len({entry.path for entry in listed}) == len(listed) == 1100


async def test_the_proof_finds_conditional_writes_and_leaves_nothing(
    repository: Repository,
) -> None:
    """A prepared repository passes, and the probe is gone afterwards."""
    await prepare_runtime(repository)
    assert (await prove(repository)).conditional_writes
    assert await repository.list() == []


async def test_open_and_close_may_be_repeated(backend: Backend) -> None:
    """Both are idempotent."""
    connector = backend.connect()
    await connector.open()
    await connector.open()
    await connector.create("a", b"")
    await connector.close()
    await connector.close()
