"""Where things lie in a repository (design, "Repository layout")."""

import asyncio
import uuid
from typing import Final

from harmony_agent.core.errors import Absent, PreconditionFailed
from harmony_agent.repositories.interface import Repository

__all__ = [
    "CONFIGURATION_FOLDERS",
    "CONFLICTS",
    "CONTROL",
    "LEASE",
    "MARKERS",
    "PARKED",
    "PARKED_BY",
    "REPOSITORY_ID",
    "RESERVED_HOSTS",
    "SET_ASIDE",
    "prepare_configuration",
    "prepare_runtime",
    "repository_id",
]

CONFIGURATION_FOLDERS: Final = ("hosts", "conf", "certs", "data", "importedIDPs")
"""Harmony's own folders in a configuration repository."""
CONTROL: Final = ".harmony-agent"
"""The agent's own folder in every repository root."""
REPOSITORY_ID: Final = f"{CONTROL}/repo-id"
"""Names this repository; its absence means that no node has ever filled it."""
MARKERS: Final = f"{CONTROL}/markers"
"""One object per node, which tells the others what it changed."""
CONFLICTS: Final = f"{CONTROL}/conflicts"
"""Versions of files that lost a conflict, of all nodes."""
SET_ASIDE: Final = f"{CONTROL}/set-aside"
"""What a node overruled in its own runtime folder."""
LEASE: Final = f"{CONTROL}/lease"
"""Who may write in a node's runtime folder."""
PARKED: Final = f"{CONTROL}/parked"
"""Log events that could not be delivered yet, in the node's own folder."""
PARKED_BY: Final = f"{CONTROL}/parked-by"
"""In the system's folder: one object for each node that has parked log events."""
RESERVED_HOSTS: Final = frozenset(name.lower() for name in (*CONFIGURATION_FOLDERS, CONTROL))
"""Lower-case names no node may have: both repositories may share one root."""


async def prepare_configuration(repository: Repository) -> None:
    """Make Harmony's folders; several nodes may do so at the same instant."""
    folders = [*CONFIGURATION_FOLDERS, CONTROL, MARKERS]
    await repository.make_folder("")
    await asyncio.gather(*(repository.make_folder(folder) for folder in folders))


async def prepare_runtime(repository: Repository) -> None:
    """Make the node's folder and the agent's own below it."""
    await repository.make_folder("")
    await repository.make_folder(CONTROL)


async def repository_id(repository: Repository, *, create: bool) -> str | None:
    """The repository's id; without one it is made if `create`, else None.

    Of several nodes that create it at the same instant one wins, and all get the winner's.
    """
    try:
        return (await repository.read(REPOSITORY_ID)).data.decode().strip()
    except Absent:
        if not create:
            return None
    new = str(uuid.uuid4())
    try:
        await repository.create(REPOSITORY_ID, f"{new}\n".encode())
    except PreconditionFailed:
        return (await repository.read(REPOSITORY_ID)).data.decode().strip()
    return new
