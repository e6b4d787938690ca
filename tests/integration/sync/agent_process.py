"""Both sides in a process of their own, so that a test can kill it at any moment.

    python -m tests.integration.sync.agent_process FOLDER

Writes the file `pulled` into FOLDER once both first pulls are done.
"""

import asyncio
import sys
from pathlib import Path

from tests.integration.sync.disk import Disk, configuration, runtime


async def live(folder: Path) -> None:
    """Run until killed."""
    disk = Disk(folder / "home", folder / "state", folder / "store" / "System1")
    own = Disk(disk.home, disk.state, folder / "store" / "System1" / "node-1")
    async with configuration(disk) as sync, runtime(own) as mirror:
        await asyncio.gather(sync.take_on(), mirror.take_on())
        (folder / "pulled").touch()
        await asyncio.gather(sync.run(), mirror.run())


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1])))
