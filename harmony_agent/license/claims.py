"""Who does what only one node of the system may do: a file that exactly one can create.

A claim is taken before the work and completed after it. If its owner does not complete it in time,
another node takes it over, so that nothing is left undone because a pod died.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Final

import orjson

from harmony_agent.core.errors import Absent, PreconditionFailed, Unavailable
from harmony_agent.repositories.interface import Content, Repository, Token

__all__ = ["KEPT", "TAKEOVER", "Claim", "Claims", "Taken"]

log = logging.getLogger(__name__)

TAKEOVER: Final = 900.0  # seconds an owner may take, by the watching node's own clock
KEPT: Final = 30 * 86400.0  # seconds that the claims of an outage stay once it is over


@dataclass(frozen=True, slots=True)
class Claim:
    """What the file says: the owner's node, the outcome once the work is done, and when it was
    written, in seconds since 1970 by the owner's clock."""

    owner: str
    outcome: str | None = None
    at: float = 0.0


class Taken(Enum):
    """How an attempt to take a claim ended."""

    MINE = "mine"
    OTHERS = "others"  # another node is at it
    DONE = "done"


@dataclass
class Claims:
    """The claims of one node. `repository` gives the opened configuration repository, or None;
    `now` the time in seconds since 1970."""

    node: str
    repository: Callable[[], Repository | None]
    now: Callable[[], float] = time.time
    _watched: dict[str, tuple[Token, float]] = field(default_factory=dict)

    async def take(self, path: str) -> tuple[Taken, Claim]:
        """Try to take the claim `path`. Raises the repository's errors (Unavailable also if it is
        not open yet)."""
        mine = Claim(self.node, at=self.now())
        repository = self._opened()
        try:
            await repository.create(path, _dump(mine))
        except PreconditionFailed:
            return await self._contend(repository, path)
        return Taken.MINE, mine

    async def complete(self, path: str, outcome: str) -> None:
        """Tell the other nodes that the work is done. Raises the repository's errors."""
        repository = self._opened()
        done = _dump(Claim(self.node, outcome, self.now()))
        try:
            content = await repository.read(path)
            if _load(content).outcome is None:
                await repository.replace(path, done, content.token)
        except Absent:
            await repository.create(path, done)

    async def purge(self, folders: Iterable[str], running: Collection[str]) -> int:
        """Delete the claims below `folders` that are older than KEPT and whose outage is none of
        `running`; how many. A path is `<folder>/<outage>[/<what>]`. Raises the repository's
        errors; another node may do the same at the same time."""
        repository = self._opened()
        purged = 0
        for folder in folders:
            for entry in await repository.list(folder):
                outage = entry.path.removeprefix(f"{folder}/").split("/")[0]
                if outage in running:
                    continue
                with contextlib.suppress(Absent, PreconditionFailed):
                    content = await repository.read(entry.path)
                    if self.now() - _load(content).at > KEPT:
                        await repository.delete(entry.path, content.token)
                        purged += 1
        return purged

    async def _contend(self, repository: Repository, path: str) -> tuple[Taken, Claim]:
        content = await repository.read(path)
        claim = _load(content)
        if claim.outcome is not None:
            return Taken.DONE, claim
        if claim.owner == self.node:  # this node's own, from before a restart or a lost answer
            return Taken.MINE, claim
        now = asyncio.get_running_loop().time()
        token, since = self._watched.setdefault(path, (content.token, now))
        if token != content.token:
            self._watched[path] = (content.token, now)
        elif now - since >= TAKEOVER:
            log.warning(
                "taking over what another node did not complete",
                extra={
                    "claim": path,
                    "owner": claim.owner,
                },
            )
            mine = Claim(self.node, at=self.now())
            await repository.replace(path, _dump(mine), content.token)
            return Taken.MINE, mine
        return Taken.OTHERS, claim

    def _opened(self) -> Repository:
        repository = self.repository()
        if repository is None:
            raise Unavailable("the configuration repository is not open yet")
        return repository


def _dump(claim: Claim) -> bytes:
    return orjson.dumps(asdict(claim), option=orjson.OPT_APPEND_NEWLINE)


def _load(content: Content) -> Claim:
    """A claim that nobody can read counts as one whose owner is unknown."""
    try:
        value = orjson.loads(content.data)
        owner, outcome, at = value["owner"], value["outcome"], value.get("at", 0.0)
    except (ValueError, KeyError, TypeError):
        return Claim("")
    if not isinstance(owner, str) or not isinstance(outcome, str | None):
        return Claim("")
    return Claim(owner, outcome, at if isinstance(at, int | float) else 0.0)
