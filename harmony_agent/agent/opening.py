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

__all__ = ["Prepare", "open_repository"]

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
            handle = Handle(name, connector())
            handle.conditional_writes = await _open(handle, prepare)
        except (AgentError, OSError) as error:  # OSError: a CA bundle that can't be read
            health.trouble(condition, str(error))
            log.warning("%s repository: %s", name, error)
            if isinstance(error, Refused):
                await asyncio.sleep(refused.next())
            else:
                asked = error.retry_after if isinstance(error, Unavailable) else None
                await asyncio.sleep(unavailable.next(asked))
            continue
        if handle.conditional_writes:
            health.ok(condition)
        else:
            health.trouble(
                condition,
                f"{handle.location} ignores conditional writes: two nodes that change one file at "
                "the same moment can overwrite each other",
            )
        log.info("the %s repository is open", name, extra={"location": handle.location})
        return handle


async def _open(handle: Handle, prepare: Prepare) -> bool:
    """Open and prove; whether conditional writes hold. Closes again what could not be opened."""
    try:
        await handle.open()
        await prepare(handle)
        return (await prove(handle)).conditional_writes
    except BaseException:
        await handle.close()
        raise
