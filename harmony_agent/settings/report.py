"""Mistakes and warnings about settings, told all at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from harmony_agent.core.errors import AgentError

__all__ = ["Mistake", "Report", "SettingsError"]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong: in which file or variable, at which key, what, and what would be
    right. Never holds the value of a secret."""

    source: str
    key: str
    wrong: str
    right: str

    def __str__(self) -> str:
        place = f"{self.source}: {self.key}" if self.key else self.source
        return f"{place}: {self.wrong}" + (f"; {self.right}" if self.right else "")


class SettingsError(AgentError):
    """The settings can't be used; `mistakes` holds every reason, not only the first."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        super().__init__(f"{count} mistake{'s' * (count != 1)} in the settings")


class Report:
    """Collects mistakes and warnings while settings are read."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self.warnings: list[Mistake] = []

    def mistake(self, source: str, key: str, wrong: str, right: str = "") -> None:
        """Something that has to be put right before the agent can run."""
        found = Mistake(source, key, wrong, right)
        if found not in self.mistakes:
            self.mistakes.append(found)

    def warning(self, source: str, key: str, wrong: str, right: str = "") -> None:
        """Something odd that the agent can live with."""
        self.warnings.append(Mistake(source, key, wrong, right))
