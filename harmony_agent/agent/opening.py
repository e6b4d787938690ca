"""Opens a repository: connect, make its folders, prove it; retried for ever."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import AgentError, Refused, Unavailable
from harmony_agent.lifecycle.health import Health
from harmony_agent.repositories.connect import connect
from harmony_agent.repositories.handle import Handle
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.proof import prove
from harmony_agent.settings import model

__all__ = ["open_repository"]

log = logging.getLogger(__name__)

_CEILING: Final = 30.0  # seconds between attempts while the server can't be reached
_REFUSED_CEILING: Final = 60.0  # a person has to act first; we notice within a minute when they did


async def open_repository(
    name: str,
    settings: Callable[[], model.Repository],
    folder: str,
    prepare: Callable[[Repository], Awaitable[None]],
    *,
    health: Health,
    state_dir: Path,
    ca_bundle: Path | None,
) -> Handle:
    """The opened repository `name` at `folder`, its folders made and its operations proven.

    `settings` is asked again for each attempt: credentials may be rotated while we try.
    """
    backoff = Backoff(first=1.0, ceiling=_CEILING)
    refused = Backoff(first=2.0, ceiling=_REFUSED_CEILING)
    condition = f"{name}-repository"
    while True:
        handle: Handle | None = None
        try:
            connector = connect(settings(), folder, scratch=state_dir, ca_bundle=ca_bundle)
            handle = Handle(name, connector)
            await handle.open()
            await prepare(handle)
            proof = await prove(handle)
        except AgentError as error:
            if handle is not None:
                await handle.close()
            health.trouble(condition, str(error))
            log.warning("%s repository: %s", name, error)
            await asyncio.sleep(
                refused.next()
                if isinstance(error, Refused)
                else backoff.next(error.retry_after if isinstance(error, Unavailable) else None)
            )
            continue
        if proof.conditional_writes:
            health.ok(condition)
        else:
            health.trouble(
                condition,
                f"{handle.location} ignores conditional writes: two nodes that change one file at "
                "the same moment can overwrite each other",
            )
        log.info("%s repository is open", name, extra={"location": handle.location})
        return handle
