"""The state that probes and `status` read; every part writes its own line in it.

Nothing here does I/O: a probe is answered from memory (the kubelet's default time-out is 1 s).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Condition", "Health", "Level"]

Clock = Callable[[], float]


class Level(StrEnum):
    """What a condition means for readiness."""

    OK = "ok"
    TROUBLE = "trouble"  # shown as [!] and counted; the agent deals with it and stays ready
    FAILED = "failed"  # shown as [-]; not ready


@dataclass(frozen=True, slots=True)
class Condition:
    """One named line of /readyz?verbose: its level and a sentence for a person."""

    name: str
    level: Level
    message: str = ""


@dataclass(slots=True)
class _Loop:
    limit: float
    last: float


@dataclass
class Health:
    """Everything the probes answer from.

    Loops tell that they still turn (`register_loop`, `beat`): liveness is the age of our own
    loops, nothing else. Conditions tell how each part fares: readiness. Startup steps are passed
    once (`pass_step`): startup. `sections` holds a function per part that gives its share of
    /api/status (JSON values, no secrets).
    """

    startup_steps: tuple[str, ...] = ("repositories", "first-pull", "license")
    clock: Clock = time.monotonic
    harmony_may_run: bool = True  # answered by /harmony/livez
    on_started: Callable[[], None] = lambda: None  # called once, when the last step is passed
    sections: dict[str, Callable[[], Mapping[str, Any]]] = field(default_factory=dict)
    _loops: dict[str, _Loop] = field(default_factory=dict)
    _conditions: dict[str, Condition] = field(default_factory=dict)
    _passed: dict[str, str] = field(default_factory=dict)

    # liveness
    def register_loop(self, name: str, limit: float) -> None:
        """Watch a loop: /livez fails once it has not beaten for `limit` seconds."""
        self._loops[name] = _Loop(limit, self.clock())

    def beat(self, name: str) -> None:
        """The loop `name` has turned."""
        self._loops[name].last = self.clock()

    def retire_loop(self, name: str) -> None:
        """The loop `name` ended on purpose and is watched no longer."""
        self._loops.pop(name, None)

    def stalled(self) -> list[Condition]:
        """One condition per loop: failed if its last beat is older than its limit."""
        now = self.clock()
        return [
            Condition(name, Level.FAILED, f"no beat for {now - loop.last:.0f} s")
            if now - loop.last > loop.limit
            else Condition(name, Level.OK)
            for name, loop in sorted(self._loops.items())
        ]

    # startup
    def pass_step(self, step: str, message: str = "") -> None:
        """A startup step is done; steps are passed once and never taken back."""
        was_started = self.started
        self._passed[step] = message
        if self.started and not was_started:
            self.on_started()

    @property
    def started(self) -> bool:
        """Whether all startup steps are passed."""
        return all(step in self._passed for step in self.startup_steps)

    def startup(self) -> list[Condition]:
        """One condition per startup step."""
        return [
            Condition(step, Level.OK, self._passed[step])
            if step in self._passed
            else Condition(step, Level.FAILED, "not done yet")
            for step in self.startup_steps
        ]

    # readiness
    def ok(self, name: str, message: str = "") -> None:
        """`name` works."""
        self._conditions[name] = Condition(name, Level.OK, message)

    def trouble(self, name: str, message: str) -> None:
        """`name` is in trouble, which is being dealt with: still ready."""
        self._conditions[name] = Condition(name, Level.TROUBLE, message)

    def fail(self, name: str, message: str) -> None:
        """`name` takes the agent out of readiness.

        For draining, fencing by another owner, and a license refused or over; nothing else.
        """
        self._conditions[name] = Condition(name, Level.FAILED, message)

    def conditions(self) -> list[Condition]:
        """The readiness lines: startup first, then every part that has reported."""
        missing = [step.name for step in self.startup() if step.level is Level.FAILED]
        startup = (
            Condition("startup", Level.FAILED, "waiting for " + ", ".join(missing))
            if missing
            else Condition("startup", Level.OK)
        )
        return [startup, *(self._conditions[name] for name in sorted(self._conditions))]
