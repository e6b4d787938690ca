"""A writer that is killed in the middle: what it leaves behind."""

import asyncio
import base64
import os
import pickle
import sys
import time
from pathlib import Path

import pytest

from fixtures.servers.samba import Samba
from harmony_agent.core.durable import TEMPORARY_PREFIX
from tests.integration.repositories.backends import Backend
from tests.integration.repositories.conftest import make_backend
from tests.integration.repositories.test_failures import opened

pytestmark = pytest.mark.server

_SIZE = 100_000

# Counts up by compare-and-swap as fast as it can, and tells each number that was accepted.
WRITER = """
import asyncio, base64, pickle, sys
from pathlib import Path
from harmony_agent.repositories.connect import connect

async def main():
    settings, folder = pickle.loads(base64.b64decode(sys.argv[1]))
    repository = connect(settings, folder, ca_bundle=None)
    await repository.open()
    content = await repository.read("counter")
    token, number = content.token, int(content.data.split(b" ")[0])
    while True:
        number += 1
        token = await repository.replace("counter", b"%d " % number + b"x" * 100_000, token)
        print(number, flush=True)

asyncio.run(main())
"""

# Uploads for as long as it lives, and tells each MiB that was taken.
UPLOADER = """
import asyncio, base64, pickle, sys
from pathlib import Path
from harmony_agent.repositories.connect import connect

async def pieces():
    number = 0
    while True:
        yield b"x" * 1024 * 1024
        number += 1
        print(number, flush=True)

async def main():
    settings, folder = pickle.loads(base64.b64decode(sys.argv[1]))
    repository = connect(settings, folder, ca_bundle=None)
    await repository.open()
    entry = await repository.stat("large")
    await repository.upload("large", 1 << 40, pieces(), entry.token)

asyncio.run(main())
"""


async def started(program: str, backend: Backend) -> asyncio.subprocess.Process:
    """A process of its own that works on the backend."""
    given = base64.b64encode(pickle.dumps((backend.settings(), backend.system))).decode()
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, given, stdout=asyncio.subprocess.PIPE
    )


async def count_and_kill(backend: Backend, after: int) -> int:
    """Let a writer count, kill it after that many; the last number it was told was accepted."""
    writer = await started(WRITER, backend)
    assert writer.stdout is not None
    accepted = 0
    async with asyncio.timeout(60):
        for _ in range(after):
            accepted = int(await writer.stdout.readline())
    writer.kill()
    rest = (await writer.communicate())[0].split()
    return int(rest[-1]) if rest else accepted


@pytest.mark.parametrize("kind", ["file", "smb"])
async def test_a_writer_killed_at_any_moment_leaves_a_whole_version(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """After each SIGKILL the file is whole, no accepted version is lost, and the lock is free."""
    backend = make_backend(kind, request, tmp_path)
    async with opened(backend.connect()) as repository:
        await repository.create("counter", b"0 ")
        for round_number in range(5):
            accepted = await count_and_kill(backend, 3 + 5 * round_number)
            content = await repository.read("counter")
            number, _, body = content.data.partition(b" ")
            assert int(number) in (accepted, accepted + 1)
            assert len(body) == _SIZE
        content = await repository.read("counter")
        await repository.replace("counter", b"done", content.token)
        assert [entry.path for entry in await repository.list()] == ["counter"]


@pytest.mark.parametrize("kind", ["file", "smb"])
async def test_an_upload_that_is_killed_leaves_the_old_version_and_no_rest_for_long(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """No half file is to be seen, and what lies beside is removed when it is a day old."""
    backend = make_backend(kind, request, tmp_path)
    volume = backend.server.files if isinstance(backend.server, Samba) else tmp_path / "volume"
    async with opened(backend.connect()) as repository:
        await repository.create("large", b"old")
        uploader = await started(UPLOADER, backend)
        assert uploader.stdout is not None
        async with asyncio.timeout(60):
            for _ in range(8):
                await uploader.stdout.readline()
        uploader.kill()
        await uploader.communicate()
        assert [entry.path for entry in await repository.list()] == ["large"]
        assert (await repository.read("large")).data == b"old"
        (rest,) = (volume / backend.system).glob(f"{TEMPORARY_PREFIX}*")
        yesterday = time.time() - 25 * 3600
        os.utime(rest, (yesterday, yesterday))
        await repository.list()
        assert not rest.exists()
