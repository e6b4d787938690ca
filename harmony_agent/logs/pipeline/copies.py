"""How far the log's own delivery has come with what is parked as well. No I/O."""

from dataclasses import dataclass

__all__ = ["Copies"]


@dataclass(slots=True)
class Copies:
    """Segments that hold copies of what stands in the log, by number.

    Whoever reads the log to its end has read all that was parked before; once that is delivered,
    so are the segments.
    """

    newest: int = 0
    """The last segment that is parked."""
    delivered: int = 0
    """All segments up to this one hold only events that were delivered from the log."""
