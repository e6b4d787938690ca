"""`check` finds every instance of a system, in real repositories."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.samples import write_secrets
from harmony_agent.agent.checks import run_checks
from harmony_agent.agent.fleet import survey
from harmony_agent.core.threads import Workers
from harmony_agent.license.identity import identify
from harmony_agent.license.keeper import RecordKeeper
from harmony_agent.license.record import EMPTY, Outage, OutageKind, Record, Success
from harmony_agent.lifecycle.health import Condition
from harmony_agent.repositories.connect import connect
from harmony_agent.settings.load import load
from harmony_agent.settings.model import Settings

Make = Callable[..., Settings]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Settings with both repositories as folders of one root, as most have them."""
    root = tmp_path / "repository"
    root.mkdir()
    for name in ("state", "home", "signals"):
        (tmp_path / name).mkdir()
    repository = f"type: file\nrootPath: {root}\n"
    write_secrets(tmp_path / "secrets", cleo_config_repo=repository, cleo_runtime_repo=repository)

    def make(**environ: str) -> Settings:
        variables = {
            "CLEO_SYSTEM_NAME": "System1",
            "CLEO_SECRETS_MOUNT_POINT": str(tmp_path / "secrets"),
            "HARMONY_AGENT_HOST": "own",
            "HARMONY_AGENT_HOME": str(tmp_path / "home"),
            "HARMONY_AGENT_STATE_DIR": str(tmp_path / "state"),
            "HARMONY_AGENT_SIGNAL_DIR": str(tmp_path / "signals"),
            "HARMONY_AGENT_LICENSE_URL": "https://127.0.0.1:1",
            "HARMONY_AGENT_TICKET_URL": "https://127.0.0.1:1",
        }
        return load({**variables, **environ})[0]

    return make


async def serials(settings: Settings) -> Condition:
    """What `check` says of the serials."""
    (found,) = [c async for c in run_checks(settings, ()) if c.name == "serials"]
    return found


async def leave_record(settings: Settings, record: Record) -> None:
    """Publish a license record, as a node of the system would."""
    assert settings.license is not None
    assert settings.config_repository is not None
    repository = connect(settings.config_repository, settings.system, ca_bundle=None)
    await repository.open()
    workers = Workers("test", 1)
    keeper = RecordKeeper(identify(settings.license), settings.state_dir, workers)
    await keeper.publish(repository, record, await keeper.fetch(repository, EMPTY, 1e9))
    workers.close()
    await repository.close()


async def test_instances_are_known_from_markers_leases_and_the_license_record(
    make: Make, tmp_path: Path
) -> None:
    """A node that left any trace is found; Harmony's folders and foreign ones are no nodes."""
    system = tmp_path / "repository" / "System1"
    for path in (
        ".harmony-agent/markers/marked",
        "leased/.harmony-agent/lease",
        "leased/AS2/data/1.id",
        "hosts/ACME.xml",
        "lost+found/file",
    ):
        (system / path).parent.mkdir(parents=True, exist_ok=True)
        (system / path).write_text("x")
    settings = make(HARMONY_AGENT_SERIAL="HC1234-ZZ5678")
    outage = Outage("id", OutageKind.UNREACHABLE, 2e9, "failing", "away")
    await leave_record(settings, Record(Success(1e9, "verified", "HC1234-ZZ5678"), outage))
    assert (await survey(settings)).hosts == ("failing", "leased", "marked", "own", "verified")
    found = await serials(settings)
    assert found.level.value == "ok"
    for host in ("failing", "leased", "marked", "own", "verified"):
        assert f"HC1234-ZZ5678-{host}" in found.message
    assert "lost+found" not in found.message
    assert "hosts" not in found.message


async def test_a_serial_that_is_not_configured_is_taken_from_the_record(make: Make) -> None:
    """It is what the license service answered; before that there is none to check by."""
    settings = make()
    found = await serials(settings)
    assert found.level.value == "trouble"
    assert "HARMONY_AGENT_SERIAL" in found.message
    await leave_record(settings, Record(Success(1e9, "own", "AB1234-CD5678")))
    found = await serials(settings)
    assert found.level.value == "ok"
    assert "AB1234-CD5678-.* admits AB1234-CD5678-own" in found.message


async def test_a_repository_that_can_not_be_read_is_told(make: Make, tmp_path: Path) -> None:
    """Not all instances are known then."""
    settings = make(HARMONY_AGENT_SERIAL="HC1234-ZZ5678")
    (tmp_path / "repository").rename(tmp_path / "elsewhere")
    found = await serials(settings)
    assert found.level.value == "trouble"
    assert "not all instances are known" in found.message


async def test_an_instance_outside_the_pattern_is_named(make: Make, tmp_path: Path) -> None:
    """A folder with a line end in its name, made by something else than an agent."""
    folder = tmp_path / "repository" / "System1" / "od\nd" / ".harmony-agent"
    folder.mkdir(parents=True)
    (folder / "lease").write_text("x")
    found = await serials(make(HARMONY_AGENT_SERIAL="HC1234-ZZ5678"))
    assert found.level.value == "failed"
    assert "does not admit HC1234-ZZ5678-od" in found.message
