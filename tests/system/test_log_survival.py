"""No event is lost: the agent is killed a hundred times while everything else goes wrong too."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.demo_backends import secret
from fixtures.faults import Faults
from fixtures.harmony_log import HarmonyLog, element
from fixtures.serve import free_port, serving
from fixtures.splunk import SplunkStandIn
from fixtures.tls import TestAuthority
from tests.system.agent_process import Layout, eventually, run_command

pytestmark = [pytest.mark.server, pytest.mark.long]

ROOT = Path(__file__).parents[2]
KILLS = 100
EVENT = "/services/collector/event"
LONGEST_START = 1.5  # seconds from the fork to the first request, on a busy machine
LONGEST_LIFE = 0.3  # seconds after it


class Counted:
    """Splunk, with a count of the deliveries that reached its door."""

    def __init__(self, app: Faults) -> None:
        self._app = app
        self.requests = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """The ASGI application."""
        self.requests += scope.get("path") == EVENT
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


def misbehave(splunk: SplunkStandIn, dice: random.Random) -> None:
    """One or two things go wrong with the next requests, or a little later, when several are on
    their way."""
    splunk.faults.clear()
    for _ in range(dice.randint(0, 2)):
        splunk.faults.add(path=EVENT, status=0, times=dice.randint(0, 4))  # nothing
        match dice.randrange(8):
            case 0:
                splunk.faults.add(path=EVENT, status=dice.choice([500, 502, 503, 429]))
            case 1:  # longer than this agent has left: what a timeout is to it
                splunk.faults.add(path=EVENT, status=0, delay=dice.uniform(0.1, 2))
            case 2:
                splunk.faults.add(path=EVENT, cut=True, delay=dice.uniform(0, 0.1))
            case 3:  # all is taken, and the answer lost
                splunk.faults.add(path=EVENT, lose=True)
            case 4:  # one event is refused for good, those before it are taken
                splunk.hec.fail(6, at=dice.randint(0, 30))
            case 5:  # the events before that number are taken
                splunk.hec.fail(9, at=dice.randint(0, 30))
            case 6:
                splunk.hec.fail(dice.choice([8, 9, 26]), retry_after=dice.choice([None, "1"]))
            case _:  # matters once acknowledgment is on: a request is lost behind the collector
                splunk.hec.lost_acks.add(splunk.hec._next_ack + dice.randint(0, 3))


def behave(splunk: SplunkStandIn) -> None:
    """From now on all goes well."""
    splunk.faults.clear()
    splunk.hec._script.clear()
    splunk.hec.lost_acks.clear()


def test_a_hundred_kills_lose_no_event(tmp_path: Path) -> None:
    """SIGKILL at a hundred random moments, while Harmony writes and rotates and Splunk answers
    with errors, late, in part, not at all, or loses what it took: in the end it holds every event,
    and repeats bear the same id. In the second half the token asks for acknowledgment."""
    seed = int(os.environ.get("SURVIVAL_SEED") or random.SystemRandom().randrange(10**9))
    print(f"SURVIVAL_SEED={seed}")
    dice = random.Random(seed)
    layout, splunk = Layout(tmp_path), SplunkStandIn()
    authority = TestAuthority(tmp_path / "tls")
    environment = {
        "HARMONY_AGENT_BIND": f"127.0.0.1:{free_port()}",
        "HARMONY_AGENT_CA_BUNDLE": str(authority.bundle),
        "HARMONY_AGENT_LICENSE": "off",
        "HARMONY_AGENT_CONFIG_SYNC": "off",
        "HARMONY_AGENT_RUNTIME_MIRROR": "off",
    }
    counted = Counted(splunk.app)
    with serving(counted, authority.issue()) as url:
        layout.write_secrets(cleo_log_system=secret("splunk", url=url, token=splunk.hec.token))
        harmony = Harmony(layout.home, random.Random(seed + 1))
        with agents(layout, **environment) as agent:
            agent.start()
            eventually(lambda: splunk.events, what="the first events")
            harmony.start()
            for kill in range(KILLS):
                splunk.hec.use_ack = kill >= KILLS // 2
                misbehave(splunk, dice)
                if dice.random() < 0.8:  # the others are killed at some moment of their start
                    counted.await_one_more()
                time.sleep(dice.uniform(0, LONGEST_LIFE))  # a random moment is the point
                agent.kill()
                agent.start()
            harmony.finish()
            behave(splunk)
            agent.kill()  # it may wait for what is lost
            agent.start()

            def missing() -> set[str]:
                return set(harmony.written) - {event["message"] for event in splunk.events}

            def complete() -> bool:
                if missing():  # some may be dead letters: what was refused is taken now
                    resent = run_command(layout, "dead-letters", "resend", "--all")
                    assert "refused" not in resent.stdout
                return not missing()

            eventually(complete, 60, "all events at Splunk")
    ids: dict[str, str] = {}
    for event in splunk.events:
        assert ids.setdefault(event["message"], event["id"]) == event["id"], "another id"
    assert len(set(ids.values())) == len(harmony.written)
    assert counted.requests > KILLS, "agents were killed before they did anything"
    print(f"{counted.requests} requests, {len(splunk.events) - len(ids)} repeats of {len(ids)}")
