"""A startup step that several jobs have to pass together."""

from collections.abc import Callable, Iterable

from harmony_agent.lifecycle.health import Health

__all__ = ["Gate"]


class Gate:
    """Passes `step` once every one of `names` has passed; at once if there are none.

    `on_open` is called just before the step counts as passed.
    """

    def __init__(
        self,
        health: Health,
        step: str,
        names: Iterable[str],
        on_open: Callable[[], None] = lambda: None,
    ) -> None:
        self._health = health
        self._step = step
        self._on_open = on_open
        self._waiting = set(names)
        self._open_if_through()

    def pass_by(self, name: str) -> None:
        """The job `name` is through; once is enough, more often does no harm."""
        if name in self._waiting:
            self._waiting.remove(name)
            self._open_if_through()

    def _open_if_through(self) -> None:
        if not self._waiting:
            self._on_open()
            self._health.pass_step(self._step)
