"""The agent's container beside Harmony's, whose command runs below the guard.

Both use the host's network, so that the license service's stand-in on loopback is within reach.
Harmony is the stand-in of fixtures/harmony.py, in a container of the same image.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures.cleo import LicenseService, TicketService
from fixtures.container import Container, Podman
from fixtures.samples import write_secrets
from fixtures.serve import free_port, serving
from fixtures.tls import TestAuthority
from tests.system.agent_process import eventually
from tests.system.image.conftest import IMAGE, ROOT

pytestmark = pytest.mark.image

REPOSITORY = "type: file\nconnectorProperties:\n  rootPath: /repository\n"
SIGNALS = "/var/run/harmony-agent"


@dataclass
class Pod:
    """The volumes of one pod below `root`, and the containers on them."""

    podman: Podman
    root: Path
    environment: dict[str, str]
    port: int

    def __post_init__(self) -> None:
        for name in ("home", "signals", "state", "repository"):
            directory = self.root / name
            directory.mkdir()
            directory.chmod(0o777)  # for user 1000 in the containers
        write_secrets(
            self.root / "secrets", cleo_config_repo=REPOSITORY, cleo_runtime_repo=REPOSITORY
        )
        options = (self._volume("signals", SIGNALS),)
        installed = self.podman.run(IMAGE, "install-guard", SIGNALS, options=options)
        assert installed.code == 0, installed.err

    def _volume(self, name: str, target: str, mode: str = "rw") -> str:
        return f"--volume={self.root / name}:{target}:{mode}"

    def agent(self) -> contextlib.AbstractContextManager[Container]:
        """The agent, as the shipped manifests run it."""
        environment = {
            "CLEO_SYSTEM_NAME": "System1",
            "HARMONY_AGENT_HOST": "harmony-1",
            "HARMONY_AGENT_SERIAL": "HC1234-ZZ5678",
            "HARMONY_AGENT_BIND": f"127.0.0.1:{self.port}",
            "HARMONY_AGENT_CA_BUNDLE": "/tls/ca.pem",
            **self.environment,
        }
        volumes = (
            self._volume("home", "/opt/harmony"),
            self._volume("signals", SIGNALS),
            self._volume("state", "/var/lib/harmony-agent"),
            self._volume("repository", "/repository"),
            self._volume("secrets", "/var/secrets", "ro"),
            self._volume("tls", "/tls", "ro"),
        )
        variables = tuple(f"--env={key}={value}" for key, value in environment.items())
        return self.podman.running(IMAGE, options=("--network=host", *volumes, *variables))

    def harmony(self) -> contextlib.AbstractContextManager[Container]:
        """Harmony below the guard."""
        options = (
            "--network=none",
            "--no-healthcheck",
            f"--entrypoint={SIGNALS}/harmony-guard",
            "--env=HARMONY_GUARD_STOP_TIMEOUT=10",
            "--env=PYTHONPATH=/stand-in",
            f"--volume={ROOT / 'fixtures'}:/stand-in/fixtures:ro",
            self._volume("home", "/opt/harmony"),
            self._volume("signals", SIGNALS),
        )
        command = ("--", "python", "-m", "fixtures.harmony", "/opt/harmony", "--rate=20")
        return self.podman.running(IMAGE, *command, options=options)

    def get(self, path: str) -> httpx.Response | None:
        """An answer of the agent; None if nothing listens."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            return httpx.get(url, timeout=10, trust_env=False)
        except httpx.TransportError:
            return None

    def answers(self, path: str) -> int:
        """The status of an answer, 0 if nothing listens."""
        answer = self.get(path)
        return answer.status_code if answer else 0

    def messages(self, text: str) -> list[dict[str, Any]]:
        """Log events that hold `text`."""
        answer = self.get(f"/api/logs?text={text}&count=1000")
        return list(answer.raise_for_status().json()["resources"]) if answer else []

    def wait_started(self, agent: Container) -> None:
        """Wait for /startupz; shows the agent's log if it does not come."""
        try:
            eventually(lambda: self.answers("/startupz") == 200, what="/startupz")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{agent.logs}") from error

    @property
    def harmony_runs(self) -> bool:
        """Whether Harmony itself has started and logged."""
        return (self.root / "home" / "logs" / "Harmony.xml").exists()


@pytest.fixture
def license_service() -> LicenseService:
    """Answers `valid` until told otherwise."""
    return LicenseService()


@pytest.fixture
def pod(podman: Podman, tmp_path: Path, license_service: LicenseService) -> Iterator[Pod]:
    """A pod whose agent reaches license and ticket service; nothing runs in it yet."""
    authority = TestAuthority(tmp_path / "tls")
    certificate = authority.issue()
    with (
        serving(license_service.app, certificate) as license_url,
        serving(TicketService().app, certificate) as ticket_url,
    ):
        environment = {
            "HARMONY_AGENT_LICENSE_URL": license_url,
            "HARMONY_AGENT_TICKET_URL": ticket_url,
        }
        yield Pod(podman, tmp_path, environment, free_port())


def test_a_whole_life(pod: Pod) -> None:
    """Harmony waits for the agent, works beside it, and nothing of its last words is lost."""
    with pod.harmony() as harmony:
        eventually(lambda: "waiting until harmony-agent is ready" in harmony.logs, what="guard")
        assert not pod.harmony_runs
        with pod.agent() as agent:
            pod.wait_started(agent)
            eventually(lambda: pod.messages("Harmony started"), what="Harmony's first event")
            assert (pod.root / "signals" / "running").exists()
            assert agent.health().code == 0
            node = pod.root / "repository" / "System1" / "harmony-1"
            eventually(lambda: list(node.glob("AS2/data/*.id")), what="a message ID on the share")
            shared = pod.root / "repository" / "System1" / "hosts" / "ACME AS2.xml"
            eventually(shared.exists, what="a host file in the configuration repository")
            # The end of a pod: Harmony first, then the agent.
            assert harmony.stop(30) == 0
            assert not (pod.root / "signals" / "running").exists()
            eventually(lambda: pod.messages("Harmony stopped"), what="Harmony's last event")
            assert agent.stop(40) == 0
            assert '"drained"' in agent.logs
    written = {path.name for path in (pod.root / "home" / "AS2" / "data").glob("*.id")}
    assert {path.name for path in node.glob("AS2/data/*.id")} == written


def test_grace_that_is_over_ends_both(pod: Pod, license_service: LicenseService) -> None:
    """Harmony gets SIGTERM, both containers end with 77, and a valid license heals it all."""
    license_service.answer = "error"
    pod.environment |= {"HARMONY_AGENT_GRACE_PERIOD": "8s", "HARMONY_AGENT_VERIFY_RETRY": "1s"}
    with pod.agent() as agent, pod.harmony() as harmony:
        pod.wait_started(agent)
        eventually(lambda: pod.harmony_runs, what="Harmony's start in grace")
        assert harmony.wait() == 77
        assert "ending Harmony" in harmony.logs
        assert agent.wait() == 77
    assert (pod.root / "signals" / "exit").exists()
    with pod.harmony() as harmony:
        assert harmony.wait() == 77
    license_service.answer = "valid"
    with pod.agent() as agent:
        pod.wait_started(agent)
        with pod.harmony() as harmony:
            eventually(lambda: len(pod.messages("Harmony started")) == 2, what="the second start")
            assert harmony.stop(30) == 0
        assert agent.stop(40) == 0


def test_license_refused_at_the_start_keeps_harmony_out(
    pod: Pod, license_service: LicenseService
) -> None:
    """Harmony never starts, and both containers say why."""
    license_service.answer = "revoked"
    with pod.harmony() as harmony, pod.agent() as agent:
        assert agent.wait() == 77
        assert harmony.wait() == 77
        assert "Harmony must not run: " in harmony.logs
        assert "revoked" in agent.logs
    assert not pod.harmony_runs


def test_killed_agent_leaves_harmony_running(pod: Pod) -> None:
    """The agent's death stops nothing, and its successor goes on where it was."""
    with pod.harmony() as harmony:
        with pod.agent() as agent:
            pod.wait_started(agent)
            eventually(lambda: pod.messages("Harmony started"), what="Harmony's first event")
            agent.kill("KILL")
            assert agent.wait() == 137
        assert harmony.state == "running"
        with pod.agent() as agent:
            pod.wait_started(agent)
            assert harmony.state == "running"
            assert harmony.stop(30) == 0
            eventually(lambda: pod.messages("Harmony stopped"), what="Harmony's last event")
            assert len(pod.messages("Harmony started")) == 1
            assert agent.stop(40) == 0
