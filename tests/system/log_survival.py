"""Kills the agent again and again while Harmony writes and rotates and the log system misbehaves:
what the survival tests of all log systems have in common."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from fixtures.faults import Faults
from fixtures.harmony_log import HarmonyLog, element
from fixtures.serve import free_port, serving
from fixtures.tls import TestAuthority
from tests.system.agent_process import Layout, eventually, run_command

__all__ = ["Receiver", "survive"]

ROOT = Path(__file__).parents[2]
LONGEST_START = 1.5  # seconds from the fork to the first request, on a busy machine
LONGEST_LIFE = 0.3  # seconds after it
PATIENCE = 60.0  # seconds without a new event, once all goes well


class Receiver(ABC):
    """A log system's stand-in that misbehaves; `path` is where it takes deliveries."""

    path: ClassVar[str]
    faults: Faults

    @abstractmethod
    def secret(self, url: str) -> str:
        """The content of cleo-log-system for the stand-in at `url`."""

    @abstractmethod
    def received(self) -> list[tuple[str, str]]:
        """Message and id of each event that arrived, repeats included."""

    @abstractmethod
    def misbehave(self, dice: random.Random, written: int) -> None:
        """One thing of the log system's own goes wrong with the next requests; `written` is how
        many events there are by now."""

    @abstractmethod
    def behave(self) -> None:
        """From now on its own part goes well."""

    def go_wrong(self, dice: random.Random, written: int) -> None:
        """None, one or two things go wrong with the next requests, or a little later, when several
        are on their way."""
        self.go_right()
        for _ in range(dice.randint(0, 2)):
            self.faults.add(path=self.path, status=0, times=dice.randint(0, 4))  # nothing
            match dice.randrange(7):
                case 0:  # longer than this agent has left: what a timeout is to it
                    self.faults.add(path=self.path, status=0, delay=dice.uniform(0.1, 2))
                case 1:
                    self.faults.add(path=self.path, cut=True, delay=dice.uniform(0, 0.1))
                case 2:  # all is taken, and the answer lost
                    self.faults.add(path=self.path, lose=True)
                case _:
                    self.misbehave(dice, written)

    def go_right(self) -> None:
        """From now on all goes well."""
        self.faults.clear()
        self.behave()


class Counted:
    """An application with a count of the deliveries that reached its door."""

    def __init__(self, app: Faults, path: str) -> None:
        self._app = app
        self._path = path
        self.requests = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """The ASGI application."""
        self.requests += scope.get("path") == self._path
        await self._app(scope, receive, send)

    def await_one_more(self) -> None:
        """Until the next delivery begins, but not for long: it may be waiting for better times."""
        before, deadline = self.requests, time.monotonic() + LONGEST_START
        while self.requests == before and time.monotonic() < deadline:
            time.sleep(0.002)


class Harmony(threading.Thread):
    """Writes events as fast as a busy Harmony, and rotates its log in every way there is."""

    def __init__(self, home: Path, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self._archive = home / "logs" / "archive"
        self._dice = dice
        self._ending = threading.Event()
        self._log = HarmonyLog(home / "logs" / "Harmony.xml")
        self._log.start()
        self.written: list[str] = []
        self._write(20)

    def run(self) -> None:
        """Until `finish`."""
        while not self._ending.wait(self._dice.uniform(0.02, 0.1)):
            self._write(self._dice.randint(1, 40))
            if self._dice.random() < 0.03:
                self._log.rotate(
                    self._archive,
                    copy=self._dice.random() < 0.5,
                    packing=self._dice.choice(["plain", "gzip", "zip"]),
                )

    def finish(self) -> None:
        """The last event is written."""
        self._ending.set()
        self.join()

    def _write(self, count: int) -> None:
        for _ in range(count):
            text = f"event {len(self.written)}"
            self._log.event(element("Detail", text, level="1"), thread=1)
            self.written.append(text)


class Agents:
    """Agents one after the other; each `start` is a new process."""

    def __init__(self, layout: Layout, environment: dict[str, str]) -> None:
        self._log = layout.root / "agents.log"
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.system.agent_forks", self._log],
            cwd=ROOT,
            env=layout.environment(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pid: int | None = None

    def start(self) -> None:
        """Begin a new life."""
        assert self._server.stdin is not None
        self._server.stdin.write("\n")
        self._server.stdin.flush()
        self._pid = int(self._answer())

    def kill(self) -> None:
        """SIGKILL; fails if the agent had ended by itself."""
        assert self._pid is not None
        assert self._runs(), self._log.read_text()[-5000:]
        os.kill(self._pid, signal.SIGKILL)
        self._pid = None
        assert self._answer() == "ended"

    def close(self) -> None:
        """End the last one and the server."""
        if self._pid is not None and self._runs():
            os.kill(self._pid, signal.SIGKILL)
        self._server.communicate(timeout=10)

    def _runs(self) -> bool:
        # Its parent waits for it: an agent that has ended is gone.
        return Path(f"/proc/{self._pid}").exists()

    def _answer(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()


@contextmanager
def agents(layout: Layout, **environment: str) -> Iterator[Agents]:
    """Agents that live in the block at most."""
    found = Agents(layout, environment)
    try:
        yield found
    finally:
        found.close()


def survive(
    root: Path, receiver: Receiver, kills: int, *, half_way: Callable[[], None] = lambda: None
) -> None:
    """Kill the agent at `kills` random moments, then let all go well; fails unless every event
    arrives, and repeats bear the same id. `half_way` is called after half of the kills.

    SURVIVAL_SEED in the environment repeats a run's dice.
    """
    seed = int(os.environ.get("SURVIVAL_SEED") or random.SystemRandom().randrange(10**9))
    print(f"SURVIVAL_SEED={seed}")
    dice = random.Random(seed)
    layout, authority = Layout(root), TestAuthority(root / "tls")
    environment = {
        "HARMONY_AGENT_BIND": f"127.0.0.1:{free_port()}",
        "HARMONY_AGENT_CA_BUNDLE": str(authority.bundle),
        "HARMONY_AGENT_LICENSE": "off",
        "HARMONY_AGENT_CONFIG_SYNC": "off",
        "HARMONY_AGENT_RUNTIME_MIRROR": "off",
    }
    counted = Counted(receiver.faults, receiver.path)
    with serving(counted, authority.issue()) as url:
        layout.write_secrets(cleo_log_system=receiver.secret(url))
        harmony = Harmony(layout.home, random.Random(seed + 1))
        with agents(layout, **environment) as agent:
            agent.start()
            eventually(receiver.received, what="the first events")
            harmony.start()
            for kill in range(kills):
                if kill == kills // 2:
                    half_way()
                receiver.go_wrong(dice, len(harmony.written))
                if dice.random() < 0.8:  # the others are killed at some moment of their start
                    counted.await_one_more()
                time.sleep(dice.uniform(0, LONGEST_LIFE))  # a random moment is the point
                agent.kill()
                agent.start()
            harmony.finish()
            receiver.go_right()
            agent.kill()  # it may wait for what is lost
            agent.start()
            _await_all(layout, receiver, set(harmony.written))
    ids: dict[str, str] = {}
    for message, id_ in receiver.received():
        assert ids.setdefault(message, id_) == id_, "another id"
    assert len(set(ids.values())) == len(harmony.written)
    assert counted.requests > kills, "agents were killed before they did anything"
    repeats = len(receiver.received()) - len(ids)
    print(f"{counted.requests} requests, {repeats} repeats of {len(ids)}")


def _await_all(layout: Layout, receiver: Receiver, written: set[str]) -> None:
    """Until every event has arrived; fails after a minute without a new one."""
    missing, deadline = written, time.monotonic() + PATIENCE
    while missing:
        # Some may be dead letters: what was refused is taken now.
        resent = run_command(layout, "dead-letters", "resend", "--all")
        assert "refused" not in resent.stdout
        before, missing = missing, written - {message for message, _ in receiver.received()}
        if len(missing) < len(before):
            deadline = time.monotonic() + PATIENCE
        assert time.monotonic() < deadline, f"{len(missing)} events do not arrive"
