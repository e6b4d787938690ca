"""Replaces and removes files of home that Harmony may write to at the very same moment. Blocking.

What stood there is taken out in one step, under a name of its own, and looked at only then: what
nobody has decided about goes back. The name says which contents are known, so that whoever finds
such a file after the agent was killed knows whether it is worth keeping.

Files that are replaced together share their waits for the disk. Errors are OSError, and
PreconditionFailed if the file is not what was expected.
"""

import base64
import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from harmony_agent.core.durable import NO_LINKS, TEMPORARY_PREFIX, Draft, sync_directory
from harmony_agent.core.errors import PreconditionFailed
from harmony_agent.core.exchange import NO_EXCHANGE, exchange
from harmony_agent.sync.decisions.states import LocalFile

__all__ = [
    "Replacement",
    "held_name",
    "held_path",
    "is_known",
    "name_of_held",
    "remove",
    "replace_all",
]

# A name of home has 215 bytes at most, and must fit in the 255 that volumes take.
_KNOWN_BYTES: Final = 6  # of a SHA-256; by chance one of 10^14 contents is taken for a known one
_HELD: Final = re.compile(
    re.escape(f"{TEMPORARY_PREFIX}=") + r"(?P<old>[\w-]{8})(?P<new>[\w-]{8})(?P<name>.+)",
    re.ASCII | re.DOTALL,
)


def held_name(name: str, old: str, new: str) -> str:
    """What the file `name` is called while it is taken out; contents with the hashes `old` and
    `new` (SHA-256 as hex) are known. The agent's own temporary files bear such names."""
    return f"{TEMPORARY_PREFIX}={_short(old)}{_short(new)}{name}"


def held_path(path: str, old: str, new: str) -> str:
    """The same for a path below home."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{held_name(name, old, new)}"


def name_of_held(held: str) -> str | None:
    """The name that a file called `held` had before; None if it was not taken out."""
    found = _HELD.fullmatch(held)
    return None if found is None else found["name"]


def is_known(held: str, sha256: str) -> bool:
    """Whether the name `held` says that the content with this hash (hex) is known."""
    found = _HELD.fullmatch(held)
    return found is not None and _short(sha256) in (found["old"], found["new"])


def _short(sha256: str) -> str:
    return base64.urlsafe_b64encode(bytes.fromhex(sha256)[:_KNOWN_BYTES]).decode()


class Replacement(NamedTuple):
    """A synced draft that is to replace the version `expected` of its target, which is called
    `held` meanwhile."""

    draft: Draft
    held: Path
    expected: LocalFile


def replace_all(replacements: Sequence[Replacement]) -> list[OSError | PreconditionFailed | None]:
    """Carry out each of them: in order, None or what hindered it. If anything else than the version
    expected was replaced, that stands there again.

    At the end, or when the process is killed, `held` may be left: the draft, what was expected, or
    what Harmony wrote meanwhile.
    """
    steps = _Steps()
    exchanged = [each for each in replacements if steps.take(each, _put)]
    folders: dict[Path, list[Replacement]] = {}
    for each in exchanged:
        folders.setdefault(each.draft.target.parent, []).append(each)
    for folder, there in folders.items():
        steps.take_together(there, partial(sync_directory, folder))
    # The look comes after the slow part: whoever had the file open may have written by then.
    for each in exchanged:
        steps.take(each, _look_back)
    return [steps.failures.get(each.held) for each in replacements]


class _Steps:
    """Takes steps with replacements that did not fail before."""

    def __init__(self) -> None:
        self.failures: dict[Path, OSError | PreconditionFailed] = {}

    def take(self, one: Replacement, step: Callable[[Replacement], bool]) -> bool:
        """Take it; whether there is a next one."""
        if one.held in self.failures:
            return False
        try:
            return step(one)
        except (OSError, PreconditionFailed) as error:
            self.failures[one.held] = error
            return False

    def take_together(self, many: Iterable[Replacement], step: Callable[[], None]) -> None:
        """Take one for all of them."""
        try:
            step()
        except OSError as error:
            self.failures |= dict.fromkeys((one.held for one in many), error)


def _put(one: Replacement) -> bool:
    """Replace it; whether what was replaced is still to be looked at."""
    draft, held, expected = one
    _require(draft.target, expected)
    try:
        draft.put_in_exchange(held)
    except OSError as error:
        if error.errno not in NO_EXCHANGE:
            raise
        _replace_linked(one)
        return False
    return True


def _look_back(one: Replacement) -> bool:
    target = one.draft.target
    if not _is(one.held, one.expected):
        exchange(target, one.held)
        raise _changed(target)
    one.held.unlink()
    return False


def _replace_linked(one: Replacement) -> None:
    """The same on a volume that can't exchange files: an edit in place comes back, a file that
    was renamed to this name between look and change does not."""
    draft, held, expected = one
    target = draft.target
    try:
        os.link(target, held)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # No hard links either, or a file of somebody else's: the look has to do.
        _require(target, expected)
        draft.put_over()
        sync_directory(target.parent)
        return
    if not _is(held, expected):
        held.unlink()
        raise _changed(target)
    draft.put_over()
    sync_directory(target.parent)
    if not _is(held, expected):
        held.rename(target)
        raise _changed(target)
    held.unlink()


def remove(target: Path, held: Path, expected: LocalFile) -> None:
    """Remove the version `expected`. If anything else was taken out, it stands there again, unless
    Harmony has made the file anew since; then, or if the process is killed, `held` is left."""
    _require(target, expected)
    target.rename(held)
    sync_directory(target.parent)
    if not _is(held, expected):
        with contextlib.suppress(FileExistsError):
            _give_back(held, target)
        raise _changed(target)
    held.unlink()


def _give_back(held: Path, target: Path) -> None:
    try:
        os.link(held, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if not os.path.lexists(target):
            held.rename(target)
    else:
        held.unlink()


def _require(target: Path, expected: LocalFile) -> None:
    if not _is(target, expected):
        raise _changed(target)


def _changed(target: Path) -> PreconditionFailed:
    return PreconditionFailed(f"{target} has changed")


def _is(path: Path, expected: LocalFile) -> bool:
    status = path.lstat()
    present = (status.st_size, status.st_mtime_ns, status.st_ino)
    return stat.S_ISREG(status.st_mode) and present == (
        expected.size,
        expected.mtime_ns,
        expected.inode,
    )
