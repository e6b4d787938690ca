"""Many small new files at the price of a few waits for the disk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from harmony_agent.core.durable import Draft, sync_directory
from harmony_agent.core.volume_sync import VolumeSync

__all__ = ["create_together"]

T = TypeVar("T")
R = TypeVar("R")


def create_together(
    items: Sequence[T],
    begin: Callable[[T], Draft],
    place: Callable[[Draft], None],
    describe: Callable[[Draft], R],
    volume: VolumeSync,
) -> list[R | Exception]:
    """Make a new file of each item: `begin` gives its written draft, `place` puts that in place.

    The outcomes in order: what `describe` says of the draft once it is on the disk under its name,
    or the error that `begin`, `place` or the disk raised, which fails that item alone; a volume
    that can't be synced fails all.

    No file gets its name before its content is on the disk: all are written, all are synced, all
    get their names, and then each folder is synced once.
    """
    drafts: dict[int, Draft] = {}
    failures: dict[int, Exception] = {}
    try:
        for number, item in enumerate(items):
            try:
                drafts[number] = begin(item)
            except Exception as error:  # noqa: BLE001 - handed to whoever asked for this file
                failures[number] = error
        failures |= _sync(drafts, volume)
        failures |= _place(_without(drafts, failures), place)
        failures |= _sync_folders(_without(drafts, failures))
        described = {n: describe(draft) for n, draft in _without(drafts, failures).items()}
        return [(failures | described)[number] for number in range(len(items))]
    finally:
        for draft in drafts.values():
            draft.discard()


def _without(drafts: dict[int, Draft], failures: dict[int, Exception]) -> dict[int, Draft]:
    return {number: draft for number, draft in drafts.items() if number not in failures}


def _sync(drafts: dict[int, Draft], volume: VolumeSync) -> dict[int, Exception]:
    outcomes = zip(drafts, volume.sync(list(drafts.values())), strict=True)
    return {number: error for number, error in outcomes if error is not None}


def _place(drafts: dict[int, Draft], place: Callable[[Draft], None]) -> dict[int, Exception]:
    failures: dict[int, Exception] = {}
    for number, draft in drafts.items():
        try:
            place(draft)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked for this file
            failures[number] = error
    return failures


def _sync_folders(drafts: dict[int, Draft]) -> dict[int, Exception]:
    folders: dict[Path, list[int]] = {}
    for number, draft in drafts.items():
        folders.setdefault(draft.target.parent, []).append(number)
    failures: dict[int, Exception] = {}
    for folder, numbers in folders.items():
        try:
            sync_directory(folder)
        except OSError as error:
            failures |= dict.fromkeys(numbers, error)
    return failures
