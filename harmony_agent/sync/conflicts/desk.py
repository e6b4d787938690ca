"""What a person does with the versions in the conflict store: list, show, restore, remove."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from harmony_agent.core.errors import AgentError, Refused, Unavailable
from harmony_agent.repositories.interface import Repository
from harmony_agent.sync.conflicts.store import Conflict, ConflictStore, the_one
from harmony_agent.sync.decisions.paths import Ownership
from harmony_agent.sync.home.scan import CAREFUL
from harmony_agent.sync.side import Side

__all__ = ["ConflictDesk"]

_LARGEST_SHOWN: Final = 16 * 1024 * 1024  # bytes
_LIMIT: Final = 600.0  # seconds for hashing a local file


class ConflictDesk:
    """All answers are JSON objects; `wanted` is a key or a path, as `the_one` reads it.

    Methods raise the repository's errors, Absent if there is no such version, Refused if there are
    several.
    """

    def __init__(
        self, store: ConflictStore, repository: Repository, side: Side, ownership: Ownership
    ) -> None:
        """`side` and `ownership` are those of the home that versions are restored to."""
        self._store = store
        self._repository = repository
        self._side = side
        self._ownership = ownership

    async def list(self) -> Mapping[str, Any]:
        """`{"conflicts": [{"key", "path", "time", "host", "sizeBytes"}, …]}`, oldest first."""
        return {"conflicts": [kept.as_json() for kept in await self._store.list()]}

    async def show(self, wanted: str) -> Mapping[str, Any]:
        """A kept version with its `content` in Base64, and that of the file as it stands in this
        node's home (`present`; None if there is none, or one too large)."""
        kept = await self._find(wanted)
        if kept.size > _LARGEST_SHOWN:
            raise Refused(
                f"{kept.key} has {kept.size} bytes, too many to be shown; it lies in "
                f"{self._repository.location}"
            )
        content = await self._repository.read(kept.key)
        present = await self._side.in_thread(_LIMIT, self._present, kept.path)
        return {
            **kept.as_json(),
            "content": b64encode(content.data).decode(),
            "present": None if present is None else b64encode(present).decode(),
        }

    async def restore(self, wanted: str) -> Mapping[str, Any]:
        """Put a kept version into Harmony's home, from where it travels as any change does, and
        take it out of the store. The version it replaces goes to the store first: its key is
        `replaced`, None if there was none.

        Raises Unavailable as well while the first pull is not done, Refused for a path this node
        does not share, PreconditionFailed if the file changes meanwhile.
        """
        kept = await self._find(wanted)
        if not self._ownership.owns(kept.path):
            raise Refused(f"{kept.path} is no file that this node shares with others")
        async with self._side.keeper.paused():
            if not self._side.is_pulled:
                raise Unavailable("the first pull is not done yet; try again later")
            replaced = await self._put(kept)
        await self._store.remove(kept.key)
        return {**kept.as_json(), "replaced": replaced}

    async def remove(self, wanted: str) -> Mapping[str, Any]:
        """Delete a kept version for good."""
        kept = await self._find(wanted)
        await self._store.remove(kept.key)
        return kept.as_json()

    def _present(self, path: str) -> bytes | None:
        file = self._side.files.present(path)
        if file is None or file.size > _LARGEST_SHOWN:
            return None
        (content,) = self._side.files.read_all([(path, file)])
        if isinstance(content, AgentError):
            raise content
        return content

    async def _find(self, wanted: str) -> Conflict:
        return the_one(await self._store.list(), wanted)

    async def _put(self, kept: Conflict) -> str | None:
        await self._side.engine.look_home([kept.path], CAREFUL)  # refuses a home that is not ours
        present = await self._side.in_thread(_LIMIT, self._side.files.present, kept.path)
        replaced = None
        if present is not None:
            if present.size == kept.size and present.sha256.startswith(kept.hash):
                return None
            replaced = await self._side.transfers.keep_in_conflict(self._store, kept.path, present)
        await self._side.transfers.bring(kept.key, kept.path, present)
        return replaced
