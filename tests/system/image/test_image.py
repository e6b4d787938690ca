"""The container image, built and run confined: read-only, no capabilities, no privileges."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.container import Container, Podman
from tests.system.agent_process import eventually
from tests.system.image.conftest import IMAGE

pytestmark = pytest.mark.image

USERS = ("1000:0", "1000:1000", "198765:0")  # default, with Harmony's group, OpenShift's kind


@pytest.fixture
def waiting(podman: Podman) -> Iterator[Container]:
    """A container whose agent waits for another one: something that runs until a signal."""
    with podman.running(IMAGE, "wait", options=("--network=none",)) as container:
        eventually(lambda: len(_processes(container)) > 1, what="the agent below process 1")
        yield container


def _processes(container: Container) -> dict[int, tuple[str, str]]:
    """Name and state of every process in the container."""
    script = "cat /proc/[0-9]*/stat 2>/dev/null"
    found = {}
    for line in container.exec("sh", "-c", script).out.splitlines():
        pid, _, rest = line.partition(" (")
        name, _, fields = rest.rpartition(") ")
        found[int(pid)] = (name, fields[0])
    return found


@pytest.mark.parametrize("user", USERS)
def test_answers_under_any_user(podman: Podman, user: str) -> None:
    """The image works under a user that it does not know, without any right."""
    ended = podman.run(IMAGE, "version", options=(f"--user={user}",))
    assert (ended.code, ended.out) == (0, "harmony-agent 0.1.0\n"), ended.err


def test_runs_by_default_and_tells_what_is_missing(podman: Podman) -> None:
    """Started without anything it says what to set, and keeps the agent's exit code."""
    ended = podman.run(IMAGE)
    assert ended.code == 78
    assert "CLEO_SYSTEM_NAME" in ended.err
    assert "Traceback" not in ended.err


def test_says_what_it_is(podman: Podman) -> None:
    """User, entry point, port, health check and labels are what platforms look for."""
    image = podman.inspect_image(IMAGE)
    config = image["Config"]
    assert config["User"] == "1000:0"
    assert config["Entrypoint"] == ["tini", "-s", "--", "harmony-agent"]
    assert config["Cmd"] == ["run"]
    assert list(config["ExposedPorts"]) == ["8090/tcp"]
    assert image["Healthcheck"]["Test"] == ["CMD", "harmony-agent", "status"]
    assert config["Labels"]["org.opencontainers.image.version"] == "0.0.0-test"
    assert not config.get("Volumes")


def test_keeps_nothing_of_the_machine_it_was_built_on(podman: Podman) -> None:
    """No variable and no pip settings of the build are left in the image."""
    names = {entry.partition("=")[0] for entry in podman.inspect_image(IMAGE)["Config"]["Env"]}
    assert names <= {"PATH", "HOME", "PYTHONDONTWRITEBYTECODE", "MALLOC_ARENA_MAX"}
    ended = podman.run(IMAGE, "-c", "test ! -s /etc/pip.conf", options=("--entrypoint=sh",))
    assert ended.code == 0, ended.err


def test_size_is_as_expected(podman: Podman, capsys: pytest.CaptureFixture[str]) -> None:
    """What the image adds to its base is told, and notices an SDK that outgrows its use."""
    ended = podman.run(IMAGE, "-sk", "/opt/harmony-agent", options=("--entrypoint=du",))
    environment = int(ended.out.split()[0]) / 1024
    whole = podman.inspect_image(IMAGE)["Size"] / 2**20
    with capsys.disabled():
        sys.stdout.write(f"\nimage {whole:.0f} MiB, agent and libraries {environment:.0f} MiB\n")
    assert environment < 130


def _python(podman: Podman, code: str) -> str:
    options = ("--entrypoint=python", "--user=198765:0")
    ended = podman.run(IMAGE, "-W", "error::ImportWarning", "-c", code, options=options)
    assert ended.code == 0, ended.err
    return ended.out


def test_brings_no_installer(podman: Podman) -> None:
    """Nothing can be installed in a running container by accident."""
    assert "[]" in _python(
        podman,
        "from importlib.util import find_spec\n"
        "print([name for name in ('pip', 'setuptools') if find_spec(name)])",
    )


def test_all_modules_come_compiled(podman: Podman) -> None:
    """A start compiles nothing: the file system is read-only, so it would each time."""
    code = (
        "import sys, pathlib, harmony_agent.cli.main, harmony_agent.agent.agent\n"
        "caches = {m.__name__: m.__cached__ for m in list(sys.modules.values())\n"
        "          if getattr(m, '__cached__', None)}\n"
        "print(len(caches) > 200)\n"
        "print([n for n, c in caches.items() if not pathlib.Path(c).exists()])"
    )
    assert _python(podman, code) == "True\n[]\n"


# Every model that log search names, also those that it would load later.
DATADOG = """
import importlib, pathlib
import datadog_api_client.v2.api.logs_api, datadog_api_client.v2.model as models
for path in pathlib.Path(models.__file__).parent.glob("*.py"):
    module = importlib.import_module(f"datadog_api_client.v2.model.{path.stem}")
    for kind in list(vars(module).values()):
        if isinstance(kind, type):
            getattr(kind, "openapi_types", None)
"""


@pytest.mark.parametrize(
    "code",
    [
        DATADOG,
        "import smbclient, google.auth, splunklib.client",
        "import harmony_agent.repositories.objects.azure_token",
        "import harmony_agent.logs.systems.datadog_sdk",
        "import harmony_agent.repositories.smb.connector",
        "from harmony_agent.repositories.objects import azureblob, gcpbucket, s3",
        "import zoneinfo; zoneinfo.ZoneInfo('America/New_York')",
        "import ssl; assert ssl.create_default_context().get_ca_certs()",
    ],
    ids=["datadog", "sdks", "azure", "search", "smb", "stores", "zones", "authorities"],
)
def test_nothing_is_missing(podman: Podman, code: str) -> None:
    """What was taken out of the libraries is what the agent never loads."""
    _python(podman, code)


def test_directories_take_what_named_volumes_need(podman: Podman) -> None:
    """A named volume gets owner and mode of its mount point, so group 0 can write there."""
    script = "stat -Lc '%u:%g %a' /opt/harmony /var/run/harmony-agent /var/lib/harmony-agent"
    ended = podman.run(IMAGE, "-c", script, options=("--entrypoint=sh",))
    assert ended.out == "1000:0 775\n" * 3


def test_sigterm_reaches_the_agent(waiting: Container) -> None:
    """The platform's SIGTERM ends the agent at once, and its code is kept."""
    started = time.monotonic()
    assert waiting.stop(20) == 143
    assert time.monotonic() - started < 10


def test_process_1_is_no_python(waiting: Container) -> None:
    """Process 1 is tini, the agent is its child."""
    names = {pid: name for pid, (name, _) in _processes(waiting).items()}
    assert names[1] == "tini"
    assert "harmony-agent" in names.values()


def test_orphans_are_reaped(waiting: Container) -> None:
    """What exec probes leave behind does not pile up as zombies."""
    waiting.exec("sh", "-c", "for i in 1 2 3; do sh -c 'sleep 0.3 &'; done")
    eventually(
        lambda: not any(name == "sleep" for name, _ in _processes(waiting).values()),
        what="the orphans' end",
    )


def test_health_check_fails_without_a_running_agent(waiting: Container) -> None:
    """HEALTHCHECK is the agent's own `status`, which needs no shell and no curl."""
    checked = waiting.health()
    assert checked.code != 0


@pytest.mark.parametrize("user", USERS)
def test_installs_the_guard(podman: Podman, signals: Path, user: str) -> None:
    """The guard that comes out of the image runs Harmony's command."""
    mount = f"--volume={signals}:/var/run/harmony-agent"
    options = (mount, f"--user={user}")
    ended = podman.run(IMAGE, "install-guard", "/var/run/harmony-agent", options=options)
    assert ended.code == 0, ended.err
    guard = signals / "harmony-guard"
    assert guard.stat().st_mode & 0o777 == 0o755
    (signals / "ready").touch()
    inside = ("--entrypoint=/var/run/harmony-agent/harmony-guard", *options)
    ended = podman.run(IMAGE, "--", "sh", "-c", "exit 9", options=inside)
    assert ended.code == 9, ended.err


def test_guard_that_cannot_be_installed_is_told(podman: Podman) -> None:
    """A directory that can't be written gives a sentence, not a traceback."""
    ended = podman.run(IMAGE, "install-guard", "/opt")
    assert ended.code == 1
    assert ended.err == (
        "harmony-agent: harmony-guard can't be copied to /opt: Read-only file system; "
        "mount a volume there that this user can write\n"
    )


def test_guard_as_process_1(podman: Podman, signals: Path) -> None:
    """In a container of its own the guard forwards SIGTERM, reaps orphans, keeps the code."""
    mount = f"--volume={signals}:/var/run/harmony-agent"
    user = f"--user={os.getuid()}:{os.getgid()}"
    podman.run(IMAGE, "install-guard", "/var/run/harmony-agent", options=(mount, user))
    (signals / "ready").touch()
    harmony = "trap 'exit 5' TERM; sh -c 'sleep 0.3 &'; while :; do sleep 0.1; done"
    inside = ("--entrypoint=/var/run/harmony-agent/harmony-guard", mount, user, "--network=none")
    with podman.running(IMAGE, "sh", "-c", harmony, options=inside) as container:
        eventually((signals / "running").exists, what="Harmony's start")
        for _ in range(5):
            states = [state for _, state in _processes(container).values()]
            assert states.count("Z") <= 1  # one may have ended this very moment
        assert container.stop(20) == 5
    assert not (signals / "running").exists()
