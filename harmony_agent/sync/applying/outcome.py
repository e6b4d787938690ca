"""What became of actions."""

from dataclasses import dataclass, field

from harmony_agent.core.errors import AgentError
from harmony_agent.sync.decisions.policies import Act
from harmony_agent.sync.decisions.states import RemoteState

__all__ = ["Doubt", "Found", "Outcome"]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A file that is not what the plan was made for. `home`: look at it again there; `remote`:
    what the repository holds now, if `remote_known`."""

    home: bool = False
    remote: RemoteState = None
    remote_known: bool = False


Found = Doubt | AgentError | None
"""What one action came to: None if home and repository are in step."""


@dataclass(slots=True)
class Outcome:
    """What became of many actions, by path; bytes moved to (`sent`) and from (`received`) the
    repository. With `gave_up` so many failed that the rest was not tried."""

    in_step: dict[str, Act] = field(default_factory=dict)
    doubts: dict[str, Doubt] = field(default_factory=dict)
    failures: dict[str, AgentError] = field(default_factory=dict)
    sent: int = 0
    received: int = 0
    gave_up: bool = False
