"""A signal directory and guards in it that never outlive their test."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from harmony_agent.lifecycle.guard import install_guard
from harmony_agent.lifecycle.signals import SignalDirectory

LIMIT = 15.0  # seconds that a condition may take; the guard looks once a second
# A test run in the background ignores these two, and a shell can't trap what it was born to ignore.
_DEFAULT_SIGNALS = ("env", "--default-signal=HUP,INT,QUIT")
SHELLS = [("dash",), ("bash", "--posix"), ("busybox", "sh")]


def wait_for(condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Return as soon as `condition` holds; fails the test after `limit` seconds."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"waited {limit:g} s in vain for {what}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(") ")[2][0] != "Z"


class Guard:
    """One harmony-guard as a process of its own group; standard output and error go to files."""

    def __init__(self, command: list[str], environment: Mapping[str, str], logs: Path) -> None:
        self._out, self._err = logs.with_suffix(".out"), logs.with_suffix(".err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What the guard (and its command) wrote to standard error so far."""
        return self._err.read_text()

    @property
    def printed(self) -> str:
        """What the command wrote to standard output so far."""
        return self._out.read_text()

    def code(self, limit: float = LIMIT) -> int:
        """Wait for the end; the exit code as a shell tells it."""
        code = self.process.wait(limit)
        return code if code >= 0 else 128 - code

    def tear_down(self) -> None:
        """Kill the guard and all that it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(LIMIT)


class Station:
    """The signal directory as both sides see it, the installed guard, and what was started."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "signal"
        self.directory.mkdir()
        self.agent = SignalDirectory(self.directory)
        self.script = install_guard(root / "installed")
        self._guards: list[Guard] = []

    def start(
        self,
        *command: str,
        shell: tuple[str, ...] = ("sh",),
        stop_timeout: str | None = None,
        directory: Path | None = None,
        prefix: tuple[str, ...] = (),
    ) -> Guard:
        """A guard around `command`, run by `shell`."""
        environment = {"HARMONY_AGENT_SIGNAL_DIR": str(directory or self.directory)}
        if stop_timeout is not None:
            environment["HARMONY_GUARD_STOP_TIMEOUT"] = stop_timeout
        guard = Guard(
            [*_DEFAULT_SIGNALS, *prefix, *shell, str(self.script), *command],
            environment,
            self.root / f"guard-{len(self._guards)}",
        )
        self._guards.append(guard)
        return guard

    def start_running(self, *command: str, **how: object) -> tuple[Guard, int]:
        """A guard whose `command` was allowed to start and has; with Harmony's process id."""
        self.agent.tell_ready()
        guard = self.start(*command, **how)  # type: ignore[arg-type] # passed through as they came
        wait_for(lambda: self.harmony_pid() is not None, "Harmony's start")
        return guard, self.harmony_pid() or 0

    def harmony_pid(self) -> int | None:
        """The process id in `running`; None while there is none."""
        try:
            first = (self.directory / "running").read_text().split(" ")[0]
        except FileNotFoundError:
            return None
        return int(first) if first.isdigit() else None

    def tear_down(self) -> None:
        """End everything that was started."""
        for guard in self._guards:
            guard.tear_down()


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    """A signal directory with nothing in it, and guards on demand."""
    found = Station(tmp_path)
    try:
        yield found
    finally:
        found.tear_down()


@pytest.fixture
def open_station() -> Iterator[Station]:
    """As `station`, in a place that other users reach (pytest's own directories are private)."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        found = Station(root)
        try:
            yield found
        finally:
            found.tear_down()


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Each shell that the container image of a Harmony may bring along."""
    chosen: tuple[str, ...] = request.param
    if shutil.which(chosen[0]) is None:
        pytest.skip(f"{chosen[0]} is not installed here")
    return chosen
