"""Many small new files at the price of a few waits for the disk."""

import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

from harmony_agent.core.durable import Draft, sync_directory

__all__ = ["create_together"]

T = TypeVar("T")

# Yields None between its steps, and at last the directory that has to be synced.
_Creation = Generator[Path | None, None, os.stat_result]


def create_together(
    items: Sequence[T], begin: Callable[[T], Draft], place: Callable[[Draft], None]
) -> list[os.stat_result | Exception]:
    """Make a new file of each item: `begin` gives its written draft, `place` puts that in place.

    The outcomes in order: what the file is once it is on the disk under its name, or the error
    that `begin`, `place` or the disk raised, which fails that item alone.

    No file gets its name before its content is on the disk. On ext4 and XFS the first sync of a
    file commits the metadata of all whose blocks are assigned by then; since all are being
    written out at that time, the others find little left to wait for.
    """
    running = {number: _create(item, begin, place) for number, item in enumerate(items)}
    outcomes: dict[int, os.stat_result | Exception] = {}
    while running:
        waiting: dict[Path, list[int]] = {}
        for number, creation in list(running.items()):
            try:
                directory = next(creation)
            except StopIteration as end:
                outcomes[number] = end.value
                del running[number]
            except Exception as error:  # noqa: BLE001 - handed to whoever asked for this file
                outcomes[number] = error
                del running[number]
            else:
                if directory is not None:
                    waiting.setdefault(directory, []).append(number)
        for directory, numbers in waiting.items():
            try:
                sync_directory(directory)
            except OSError as error:
                for number in numbers:
                    outcomes[number] = error
                    running.pop(number).close()
    return [outcomes[number] for number in range(len(items))]


def _create(item: T, begin: Callable[[T], Draft], place: Callable[[Draft], None]) -> _Creation:
    """One file's way; the others take the same step before the next."""
    draft = begin(item)
    try:
        draft.start_sync()
        yield None
        draft.sync()
        yield None
        place(draft)
        yield draft.target.parent
        return draft.status
    finally:
        draft.discard()
