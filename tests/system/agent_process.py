"""Starts the real `harmony-agent` as a process and asks it what its user would ask."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from fixtures.samples import write_secrets
from fixtures.serve import free_port

__all__ = ["AgentProcess", "Layout", "eventually"]

T = TypeVar("T")

EXECUTABLE = Path(__file__).parents[2] / ".venv" / "bin" / "harmony-agent"
_INHERITED = ("PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def eventually(condition: Callable[[], T], limit: float = 60.0, what: str = "condition") -> T:
    """Poll until `condition` gives something true; its value. Fails after `limit` seconds."""
    deadline = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come true within {limit:g} s"
        time.sleep(0.05)


@dataclass
class Layout:
    """The directories of one node below `root`, with file repositories unless told otherwise."""

    root: Path
    host: str = "harmony-1"
    system: str = "System1"

    def __post_init__(self) -> None:
        for directory in (self.home, self.repository):
            directory.mkdir(parents=True, exist_ok=True)

    @property
    def home(self) -> Path:
        """Harmony's home."""
        return self.root / "home"

    @property
    def state(self) -> Path:
        """The agent's state directory."""
        return self.root / "state"

    @property
    def signals(self) -> Path:
        """The volume shared with Harmony."""
        return self.root / "signals"

    @property
    def secrets(self) -> Path:
        """The secrets directory."""
        return self.root / "secrets"

    @property
    def repository(self) -> Path:
        """The root of both `file` repositories."""
        return self.root / "repository"

    @property
    def configuration(self) -> Path:
        """The system's folder in the configuration repository."""
        return self.repository / self.system

    @property
    def runtime(self) -> Path:
        """The node's folder in the runtime repository."""
        return self.repository / self.system / self.host

    def write_secrets(self, **contents: str | bytes) -> None:
        """Write the secret files; both repositories are `file` ones here unless given."""
        repository = f"type: file\nconnectorProperties:\n  rootPath: {self.repository}\n"
        contents.setdefault("cleo_config_repo", repository)
        contents.setdefault("cleo_runtime_repo", repository)
        write_secrets(self.secrets, **contents)

    def environment(self, **more: str) -> dict[str, str]:
        """The variables that make an agent use these directories."""
        inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        return {
            **inherited,
            "CLEO_SYSTEM_NAME": self.system,
            "CLEO_SECRETS_MOUNT_POINT": str(self.secrets),
            "HARMONY_AGENT_HOST": self.host,
            "HARMONY_AGENT_HOME": str(self.home),
            "HARMONY_AGENT_STATE_DIR": str(self.state),
            "HARMONY_AGENT_SIGNAL_DIR": str(self.signals),
            "HARMONY_AGENT_SERIAL": "HC1234-ZZ5678",
            "TZ": "UTC",
            **more,
        }


class AgentProcess:
    """A running `harmony-agent run`; its own log goes to `<root>/agent-<n>.log`. `program` is
    what runs the agent."""

    def __init__(
        self, layout: Layout, program: Sequence[str | Path] = (EXECUTABLE,), **environ: str
    ) -> None:
        self.layout = layout
        self.port = free_port()
        self._environ = layout.environment(HARMONY_AGENT_BIND=f"127.0.0.1:{self.port}", **environ)
        self.log_path = layout.root / f"agent-{time.monotonic_ns()}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*program, "run"], env=self._environ, stderr=log, stdout=log
            )

    def __enter__(self) -> "AgentProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        """What the agent has logged so far."""
        return self.log_path.read_text()

    def probe(self, path: str) -> tuple[int, str]:
        """Status and text of a probe; status 0 if nothing answers."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5, trust_env=False)
        except httpx.TransportError:
            return 0, ""
        return answer.status_code, answer.text

    def wait_started(self, limit: float = 60.0) -> None:
        """Wait until /startupz answers 200; shows the agent's log if it does not."""
        try:
            eventually(lambda: self._alive() and self.probe("/startupz")[0] == 200, limit)
        except AssertionError as error:
            raise AssertionError(
                f"not started: {self.probe('/startupz?verbose')}\n{self.log}"
            ) from error

    def _alive(self) -> bool:
        assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
        return True

    def status(self) -> dict[str, Any]:
        """The JSON of /api/status."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/status", timeout=5, trust_env=False)
        return dict(answer.raise_for_status().json())

    def events(self, **params: str) -> list[dict[str, Any]]:
        """All events that /api/logs gives, oldest first, page by page."""
        found: list[dict[str, Any]] = []
        query = {"order": "asc", "count": "1000", **params}
        while True:
            answer = httpx.get(
                f"http://127.0.0.1:{self.port}/api/logs",
                params=query,
                timeout=30,
                trust_env=False,
            )
            page = answer.raise_for_status().json()
            found += page["resources"]
            if not page["next"]:
                return found
            query["cursor"] = page["next"]

    def command(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run another `harmony-agent` command with the same environment."""
        return run_command(self.layout, *arguments, **{**self._environ, **environ})

    def stop(self, limit: float = 60.0) -> int:
        """SIGTERM, then the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit)

    def kill(self) -> None:
        """SIGKILL, as the kernel's out-of-memory killer would."""
        self.process.kill()
        self.process.wait()


def run_command(
    layout: Layout, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a `harmony-agent` command to its end, at most 120 s."""
    # Some commands serve probes while they work: on a free port, since other tests run beside.
    environment: Mapping[str, str] = layout.environment(
        **{"HARMONY_AGENT_BIND": "127.0.0.1:0", **environ}
    )
    return subprocess.run(
        [EXECUTABLE, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
