"""The Kubernetes manifests and the compose file agree with the agent and with themselves."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harmony_agent.settings.values import duration
from harmony_agent.settings.variables import VARIABLES

DEPLOY = Path(__file__).parents[3] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
SIGNALS = "/var/run/harmony-agent"

Json = dict[str, Any]


@pytest.fixture
def pod() -> Json:
    """The pod's specification in the StatefulSet."""
    found: Json = yaml.safe_load((KUBERNETES / "base" / "statefulset.yaml").read_text())
    return dict(found["spec"]["template"]["spec"])


@pytest.fixture
def patch() -> dict[str, Any]:
    """What the guard's patch does: path to value, None where it removes."""
    found: list[Json] = yaml.safe_load((KUBERNETES / "guard" / "patch.yaml").read_text())
    return {step["path"].removeprefix("/spec/template/spec/"): step.get("value") for step in found}


@pytest.fixture
def services() -> Json:
    """The services of the compose file."""
    found: Json = yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text())
    return dict(found["services"])


def _named(containers: list[Json], name: str) -> Json:
    return next(container for container in containers if container["name"] == name)


def _mounts(container: Json) -> dict[str, str]:
    return {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}


def _default(name: str) -> str:
    return next(variable.default or "" for variable in VARIABLES if variable.name == name)


def test_grace_covers_harmonys_end_and_the_drain(pod: Json, patch: dict[str, Any]) -> None:
    """The kubelet kills nobody before Harmony and then the agent could end by themselves."""
    harmony = _named(pod["containers"], "harmony")
    stop = harmony["livenessProbe"]["terminationGracePeriodSeconds"]
    guard = {entry["name"]: entry["value"] for entry in patch["containers/0/env"]}
    assert int(guard["HARMONY_GUARD_STOP_TIMEOUT"]) == stop
    drain = duration(_default("HARMONY_AGENT_DRAIN_TIMEOUT"))
    assert pod["terminationGracePeriodSeconds"] >= stop + drain + 5


def test_prestop_leaves_time_for_the_drain(pod: Json) -> None:
    """`drain` waits for Harmony, not longer than Harmony may take."""
    agent = _named(pod["initContainers"], "harmony-agent")
    command = agent["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:2] == ["harmony-agent", "drain"]
    drain = duration(_default("HARMONY_AGENT_DRAIN_TIMEOUT"))
    limit = duration(command[command.index("--timeout") + 1])
    assert limit + drain + 5 <= pod["terminationGracePeriodSeconds"]


def test_agent_is_a_native_sidecar_behind_the_copy(pod: Json) -> None:
    """Harmony's directory is filled before the agent looks into it, and Harmony comes after."""
    names = [container["name"] for container in pod["initContainers"]]
    assert names == ["copy-harmony", "harmony-agent"]
    assert pod["initContainers"][1]["restartPolicy"] == "Always"
    assert "restartPolicy" not in pod["initContainers"][0]


def test_probes_ask_the_agents_own_paths(pod: Json) -> None:
    """Each probe has its own question, by a port that the agent listens on."""
    agent = _named(pod["initContainers"], "harmony-agent")
    paths = {
        kind: agent[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")
    }
    assert paths == {
        "startup": {"path": "/startupz", "port": "agent"},
        "liveness": {"path": "/livez", "port": "agent"},
        "readiness": {"path": "/readyz", "port": "agent"},
    }
    assert agent["ports"] == [{"name": "agent", "containerPort": 8090}]


def test_harmony_is_probed_for_the_exit_file(pod: Json) -> None:
    """Without the guard, the file alone keeps Harmony from running on."""
    harmony = _named(pod["containers"], "harmony")
    for probe in (harmony["startupProbe"], harmony["livenessProbe"]):
        assert probe["exec"]["command"] == ["sh", "-c", f"test ! -e {SIGNALS}/exit"]
        assert probe["failureThreshold"] == 1


def test_volumes_lie_where_the_agent_looks(pod: Json) -> None:
    """Home and signal directory are shared, the state is the agent's own."""
    agent = _mounts(_named(pod["initContainers"], "harmony-agent"))
    harmony = _mounts(_named(pod["containers"], "harmony"))
    home = _default("HARMONY_AGENT_HOME")
    signals = _default("HARMONY_AGENT_SIGNAL_DIR")
    assert agent[home] == harmony[home] == "home"
    assert agent[signals] == harmony[signals] == "signals"
    assert agent[_default("HARMONY_AGENT_STATE_DIR")] == "agent-state"
    assert _mounts(_named(pod["initContainers"], "copy-harmony"))["/mnt/harmony"] == "home"


def test_guard_is_installed_first_and_runs_the_command(pod: Json, patch: dict[str, Any]) -> None:
    """The patch fits the list positions of the base, which it names by number."""
    assert patch["initContainers/0"]["args"] == ["install-guard", SIGNALS]
    assert patch["containers/0/command"][:2] == [f"{SIGNALS}/harmony-guard", "--"]
    assert pod["containers"][0]["name"] == "harmony"
    mount = pod["containers"][0]["volumeMounts"][2]
    assert mount == {"name": "signals", "mountPath": SIGNALS, "readOnly": True}
    assert "containers/0/volumeMounts/2/readOnly" in patch


def test_agent_containers_have_no_rights(pod: Json, patch: dict[str, Any]) -> None:
    """Read-only root, no capabilities, no way to more, numeric user."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in (_named(pod["initContainers"], "harmony-agent"), patch["initContainers/0"]):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_only_known_variables_are_set(pod: Json, services: Json) -> None:
    """A renamed variable does not live on in the examples."""
    known = {variable.name for variable in VARIABLES} | {
        "CLEO_SYSTEM_NAME",
        "CLEO_SECRETS_MOUNT_POINT",
        "TZ",
    }
    shared = yaml.safe_load((KUBERNETES / "base" / "environment.yaml").read_text())["data"]
    agent = _named(pod["initContainers"], "harmony-agent")
    names = set(shared) | {entry["name"] for entry in agent["env"]}
    for service in services.values():
        names |= set(service.get("environment", {}))
    assert names <= known


def test_compose_stops_harmony_first_and_gives_both_time(services: Json) -> None:
    """Compose stops in reverse order of dependence; each has the time that it needs."""
    assert "harmony-agent" in services["harmony"]["depends_on"]
    drain = duration(_default("HARMONY_AGENT_DRAIN_TIMEOUT"))
    assert duration(services["harmony-agent"]["stop_grace_period"]) >= drain + 5
    assert services["harmony"]["entrypoint"][:2] == [f"{SIGNALS}/harmony-guard", "--"]


def test_compose_shares_the_same_volumes(services: Json) -> None:
    """Home and signal directory are the same volumes on both sides."""
    home, signals = _default("HARMONY_AGENT_HOME"), _default("HARMONY_AGENT_SIGNAL_DIR")
    for name in ("harmony", "harmony-agent"):
        assert f"home:{home}" in services[name]["volumes"]
        assert f"signals:{signals}" in services[name]["volumes"]
    state = _default("HARMONY_AGENT_STATE_DIR")
    assert f"state:{state}" in services["harmony-agent"]["volumes"]
