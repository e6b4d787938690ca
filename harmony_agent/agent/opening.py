"""Opens a repository: connect, make its folders, prove it; retried for ever."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import AgentError, Refused, Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.proof import prove

__all__ = ["Prepare", "open_and_prove", "open_repository", "tell_open"]

log = logging.getLogger(__name__)

Prepare = Callable[[Repository], Awaitable[None]]

_CEILING: Final = 30.0  # seconds between attempts while the server can't be reached
_REFUSED_CEILING: Final = 60.0  # a person has to act first; we notice within a minute when they did


async def open_repository(
    name: str, connector: Callable[[], Repository], prepare: Prepare, health: Health
) -> Handle:
    """The opened repository `name`, its folders made and its operations proven.

    `connector` is asked anew for each attempt: credentials may be rotated while we try.
    """
    condition = f"{name}-repository"
    health.trouble(condition, "not open yet")
    unavailable = Backoff(first=1.0, ceiling=_CEILING)
    refused = Backoff(first=2.0, ceiling=_REFUSED_CEILING)
    while True:
        try:
            handle = await _opened(name, connector(), prepare)
        except (AgentError, OSError) as error:  # OSError: a CA bundle that can't be read
            health.trouble(condition, str(error))
            log.warning("%s repository: %s", name, error)
            if isinstance(error, Refused):
                await asyncio.sleep(refused.next())
            else:
                asked = error.retry_after if isinstance(error, Unavailable) else None
                await asyncio.sleep(unavailable.next(asked))
            continue
        tell_open(name, handle, health)
        return handle


async def open_and_prove(repository: Repository, prepare: Prepare) -> bool:
    """Open `repository`, make its folders and prove its operations; whether conditional writes
    hold. Raises what any of this raises."""
    await repository.open()
    await prepare(repository)
    return (await prove(repository)).conditional_writes


def tell_open(name: str, handle: Handle, health: Health) -> None:
    """Tell that the repository `name` is in use, and what was found out about it."""
    condition = f"{name}-repository"
    if handle.conditional_writes:
        health.ok(condition)
    else:
        health.trouble(
            condition,
            f"{handle.location} ignores conditional writes: two nodes that change one file at "
            "the same moment can overwrite each other",
        )
    log.info("the %s repository is open", name, extra={"location": handle.location})


async def _opened(name: str, connector: Repository, prepare: Prepare) -> Handle:
    """`connector`, opened and proven; closed again if that fails."""
    handle = Handle(name, connector)
    try:
        handle.conditional_writes = await open_and_prove(handle, prepare)
    except BaseException:
        await handle.close()
        raise
    return handle
