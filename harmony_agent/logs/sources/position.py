"""How far the log is read, and what a reader has to remember to go on from there."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["MOST_THREADS", "Context", "Position"]

# Harmony runs some hundred actions at once at most; a log whose `End`s are missing must not grow
# the checkpoint for ever.
MOST_THREADS: Final = 2_000


@dataclass(slots=True)
class Context:
    """What the markup before an event says about it; a reader changes it as it goes.

    `run` is the Run's date as written, `threads` names the TNs that are alive, `date` and `moment`
    are the last Mark's date as written and in UTC, `product` is Session's product and version.
    """

    run: str = ""
    threads: dict[str, str] = field(default_factory=dict)
    date: str = ""
    moment: datetime | None = None
    product: str = ""

    def copy(self) -> "Context":
        """An independent copy."""
        return replace(self, threads=dict(self.threads))

    def name_thread(self, number: str, name: str) -> None:
        """TN `number` is called `name` from now on."""
        self.threads.pop(number, None)  # a name given anew counts as the newest
        self.threads[number] = name
        if len(self.threads) > MOST_THREADS:
            del self.threads[next(iter(self.threads))]


@dataclass(frozen=True, slots=True)
class Position:
    """The place after an event: in which file, at which byte offset, in which context.

    A file is known by device, inode and `fingerprint` (a hash of its beginning and of the bytes
    before `offset`), so that neither a reused inode nor a file that was emptied and filled again
    is taken for the one that was read; a copy or a packed archive of it is found by fingerprint
    alone. Without a fingerprint nothing was read yet. `modified` is the file's time of last change
    in nanoseconds: what was put away earlier holds nothing new. `finished` are the content keys of
    the files read last, so that a late packed copy is not read again. `oversized` says that the
    offset lies within an event that is too large to read and is being skipped. `behind` is how many
    bytes the file held beyond it when it was read: what is lost at least if the file is gone.
    """

    modified: int
    device: int = 0
    inode: int = 0
    offset: int = 0
    fingerprint: str = ""
    oversized: bool = False
    finished: tuple[str, ...] = ()
    context: Context = field(default_factory=Context)
    behind: int = field(default=0, compare=False)

    @property
    def file(self) -> tuple[int, int]:
        """The file's device and inode."""
        return self.device, self.inode

    def to_json(self) -> dict[str, Any]:
        """The position as JSON values."""
        values = asdict(self)
        moment = self.context.moment
        values["context"]["moment"] = None if moment is None else moment.timestamp()
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Position":
        """The position that `to_json` made. Raises KeyError or TypeError for anything else."""
        context = dict(values["context"])
        if context["moment"] is not None:
            context["moment"] = datetime.fromtimestamp(context["moment"], UTC)
        changed = {"context": Context(**context), "finished": tuple(values["finished"])}
        return cls(**{**values, **changed})
