"""A startup step that several jobs have to pass together."""

from collections.abc import Iterable

from harmony_agent.lifecycle.health import Health

__all__ = ["Gate"]


class Gate:
    """Passes `step` once every one of `names` has passed; at once if there are none."""

    def __init__(self, health: Health, step: str, names: Iterable[str]) -> None:
        self._health = health
        self._step = step
        self._waiting = set(names)
        if not self._waiting:
            health.pass_step(step)

    def pass_by(self, name: str) -> None:
        """The job `name` is through."""
        if name in self._waiting:
            self._waiting.remove(name)
            if not self._waiting:
                self._health.pass_step(self._step)
