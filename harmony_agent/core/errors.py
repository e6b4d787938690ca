"""The errors of the whole agent; the type says what the caller should do.

    AgentError
    ├── Unavailable          try again (after `retry_after` seconds if the other side said so)
    │   └── OutcomeUnknown   a write may or may not have happened: look before trying again
    ├── Refused              trying again as it is does not help: a person has to change something
    ├── PreconditionFailed   somebody else was first: look again and decide anew
    ├── Absent               the thing is not there
    └── Unsupported          this name or operation can't exist on that side

Foreign exceptions become one of these at one seam per backend; the cause is chained. A message is
written for the person who reads the log: what is wrong, where, and what to do. It never holds a
secret.
"""

__all__ = [
    "Absent",
    "AgentError",
    "OutcomeUnknown",
    "PreconditionFailed",
    "Refused",
    "Unavailable",
    "Unsupported",
]


class AgentError(Exception):
    """Root of everything the agent raises on purpose."""


class Unavailable(AgentError):
    """The other side can't be reached or is busy; `retry_after` is in seconds, None if not said."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutcomeUnknown(Unavailable):
    """A request was sent and no answer came: it may have taken effect."""


class Refused(AgentError):
    """Wrong credentials, missing permission, missing bucket or share, invalid setting."""


class PreconditionFailed(AgentError):
    """A compare-and-swap lost: the object exists already, or its token has changed."""


class Absent(AgentError):
    """The object asked for does not exist."""


class Unsupported(AgentError):
    """A name the backend can't hold, or an operation it does not offer."""
