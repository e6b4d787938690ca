"""What several nodes and a stranger do to shared files, remembered so that a loss shows.

Every content is unique. It is accounted for if it is still somewhere: in the repository, in a
conflict store or kept folder; or if whoever replaced or deleted it had it before the eyes. Agents
replace files at the same time, so what Harmony replaces is what comes out when it does, not what
lay there a moment before.
"""

import contextlib
import itertools
import os
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from harmony_agent.core.errors import Absent, AgentError, OutcomeUnknown
from harmony_agent.core.exchange import exchange
from harmony_agent.repositories.interface import Repository
from harmony_agent.repositories.layout import CONFLICTS, CONTROL
from harmony_agent.sync.home.custody import name_of_held
from tests.integration.sync.node import Node

__all__ = ["World", "stored", "take_place"]

_FOLDERS = ("certs", "certs/deep/er", "hosts", "data", "importedIDPs")
_NAMES = ("A 1", "b[2]", "Zoë", "証明書", "x%20y", "plus+and", "c")
_PATHS = [f"{folder}/{name}.xml" for folder in _FOLDERS for name in _NAMES]


async def stored(repository: Repository) -> dict[str, bytes]:
    """Harmony's files in a configuration repository."""
    entries = await repository.list()
    paths = [entry.path for entry in entries if not entry.path.startswith(f"{CONTROL}/")]
    return {path: (await repository.read(path)).data for path in paths}


@dataclass
class World:
    """The nodes, and what happened so far."""

    nodes: list[Node]
    dice: random.Random
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._serial = itertools.count()
        self._successors: dict[bytes, set[bytes]] = defaultdict(set)
        self._written: dict[bytes, str] = {}
        self._dropped: set[bytes] = set()

    def happens(self, node: Node) -> None:
        """One random operation in a node's home."""
        operations = (self._edit, self._save_anew, self._create, self._delete, self._rename)
        self.dice.choices(operations, weights=(40, 25, 20, 8, 7))[0](node)

    async def stranger(self, repository: Repository) -> None:
        """One random operation straight in the repository, made on what is there."""
        path = self.dice.choice(_PATHS)
        try:
            before = await repository.read(path)
        except Absent:
            before = None
        new = self._new(path, "stranger")
        if before is not None:
            self._successors[before.data].add(new)  # also if no answer tells that it was accepted
        try:
            if before is None:
                await repository.create(path, new)
            elif self.dice.random() < 0.2:
                await repository.delete(path, before.token)
                self._dropped.add(before.data)
                return
            else:
                await repository.replace(path, new, before.token)
        except OutcomeUnknown:
            if before is not None:
                self._dropped.add(before.data)
            return
        except AgentError:
            return
        self._wrote(new, None if before is None else before.data, f"stranger {path}")

    def lost(self, remaining: Iterable[bytes]) -> list[str]:
        """Contents that nobody gave up and that are nowhere, with where they were written."""
        safe = set(remaining) | self._dropped
        predecessors: dict[bytes, set[bytes]] = defaultdict(set)
        for old, new in self._successors.items():
            for content in new:
                predecessors[content].add(old)
        waiting = list(safe)
        while waiting:
            for old in predecessors[waiting.pop()] - safe:
                safe.add(old)
                waiting.append(old)
        return [f"{data!r} ({where})" for data, where in self._written.items() if data not in safe]

    async def remaining(self, repository: Repository) -> set[bytes]:
        """Every content that is still somewhere."""
        found = set((await stored(repository)).values())
        for entry in await repository.list(CONFLICTS):
            found.add((await repository.read(entry.path)).data)
        for node in self.nodes:
            kept = (path for path in (node.state / "replaced").rglob("*") if path.is_file())
            taken_out = (p for p in node.home.rglob("*") if name_of_held(p.name) is not None)
            found |= {path.read_bytes() for path in (*kept, *taken_out)}
        return found

    def _edit(self, node: Node) -> None:
        """Harmony writes a file in place."""
        path = self._existing(node)
        if path is None:
            return
        new = self._new(path, node.host)
        try:
            with FileIO(node.home / path, "r+") as file:
                before = file.readall()
                file.truncate(0)
                file.seek(0)
                file.write(new)
                if not os.fstat(file.fileno()).st_nlink:
                    return  # replaced since it was opened: no file has it, nobody can miss it
        except FileNotFoundError:
            return
        self._wrote(new, before, f"{node.host} edits {path}")

    def _save_anew(self, node: Node) -> None:
        """An editor writes beside and renames."""
        path = self._existing(node)
        if path is not None:
            self._put(node, path, self._new(path, node.host), "saves")

    def _create(self, node: Node) -> None:
        path = self.dice.choice(_PATHS)
        self._put(node, path, self._new(path, node.host), "creates")

    def _put(self, node: Node, path: str, new: bytes, verb: str) -> None:
        target = node.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = node.folder / "beside"
        beside.write_bytes(new)
        before = take_place(beside, target)
        self._wrote(new, before, f"{node.host} {verb} {path}")

    def _delete(self, node: Node) -> None:
        path = self._existing(node)
        if path is None:
            return
        aside = node.folder / "aside"
        try:
            (node.home / path).rename(aside)
        except FileNotFoundError:
            return
        before = aside.read_bytes()
        aside.unlink()
        self._dropped.add(before)
        self.log.append(f"{node.host} deletes {path}: {before!r}")

    def _rename(self, node: Node) -> None:
        path, target = self._existing(node), self.dice.choice(_PATHS)
        if path is None or path == target:
            return
        (node.home / target).parent.mkdir(parents=True, exist_ok=True)
        aside = node.folder / "aside"
        try:
            (node.home / path).rename(aside)
        except FileNotFoundError:
            return
        moved = aside.read_bytes()
        before = take_place(aside, node.home / target)
        if before is not None and before != moved:
            self._successors[before].add(moved)
        self.log.append(f"{node.host} renames {path} to {target}: {moved!r} over {before!r}")

    def _existing(self, node: Node) -> str | None:
        there = [path for path in _PATHS if (node.home / path).is_file()]
        return self.dice.choice(there) if there else None

    def _new(self, path: str, who: str) -> bytes:
        return f"<File n='{next(self._serial)}' of='{who}' at='{path}'/>".encode()

    def _wrote(self, new: bytes, before: bytes | None, what: str) -> None:
        self._written[new] = what
        if before is not None:
            self._successors[before].add(new)
        self.log.append(f"{what}: {new!r} over {before!r}")


def take_place(file: Path, target: Path) -> bytes | None:
    """Rename `file` to `target`; the content that this replaced, None if nothing stood there."""
    while True:
        try:
            exchange(target, file)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                target.hardlink_to(file)
                file.unlink()
                return None
        else:
            before = file.read_bytes()
            file.unlink()
            return before
